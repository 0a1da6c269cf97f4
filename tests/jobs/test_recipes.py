"""The recipes of docs/daily.md, each on data of its layout, on one worker and on two."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from tests.jobs.workers import start_all, worker_commands

pytestmark = pytest.mark.long

DEADLINE_SECONDS = 300
RNG = np.random.RandomState(0)


def _save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _segmentation(folder):
    """Bright squares on dark ground, with a rim that belongs to no class."""
    for number in range(40):
        image, mask = np.full((40, 40, 3), 40), np.zeros((40, 40))
        y, x = RNG.randint(2, 22, 2)
        image[y : y + 14, x : x + 14] = 220
        mask[y - 1 : y + 15, x - 1 : x + 15] = 255
        mask[y : y + 14, x : x + 14] = 1
        _save(folder / "images" / f"{number}.jpg", image)
        _save(folder / "masks" / f"{number}.png", mask)


def _texts(folder):
    words = {"good": ["fine", "great", "warm"], "bad": ["cold", "poor", "late"]}
    for split, count in (("train", 160), ("validation", 40)):
        rows = []
        for number in range(count):
            label = ("good", "bad")[number % 2]
            rows.append(f'"{" ".join(RNG.choice(words[label], 5))}, it was",{label}')
        (folder / f"{split}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")


def _tags(folder):
    rows = []
    for number in range(80):
        tags = [tag for tag in ("blue", "green", "red") if RNG.rand() < 0.5]
        image = np.full((32, 32, 3), 20)
        for tag in tags:
            image[..., ("red", "green", "blue").index(tag)] = 230
        _save(folder / "images" / f"{number}.png", image)
        rows.append(f"{number}.png,{' '.join(tags) or 'none'}")
    (folder / "tags.csv").write_text("file,tags\n" + "\n".join(rows) + "\n")


def _series(folder):
    times = np.arange(600)
    values = np.stack([np.sin(times / 5), 40 + 9 * np.cos(times / 5)], axis=1)
    lines = [f"{own:.5f},{other:.5f}" for own, other in values]
    (folder / "series.csv").write_text("value,other\n" + "\n".join(lines) + "\n")


def _ratings(folder):
    users, items = RNG.randint(0, 20, 2000), RNG.randint(0, 15, 2000)
    ratings = 3.0 + (users % 2) - (items % 3)
    table = pyarrow.table({"user": users, "item": items, "rating": ratings.astype(np.float32)})
    pyarrow.parquet.write_table(table, folder / "ratings.parquet")


def _classes(folder):
    for number in range(32):
        image = np.full((40, 40, 3), 30)
        image[..., number % 2] = 220
        _save(folder / ("red", "green")[number % 2] / f"{number}.png", image)


ADAM = ("--optimizer=adam", "--learning_rate=0.01")
SMALL = "--dataset_option=size=32,32"
# Of each: its data, its flags, and what the last epoch of validation reaches.
RECIPES = {
    ("segmentation", "unet"): (_segmentation, (SMALL, "--epochs=10"), "val_mean_iou", (0.7, 1)),
    ("csv_texts", "text_classifier"): (_texts, ("--epochs=4",), "val_accuracy", (0.95, 1)),
    ("tags", "small_cnn"): (_tags, (SMALL, "--epochs=12"), "val_auc", (0.8, 1)),
    ("series", "forecaster"): (
        _series,
        ("--dataset_option=history=12", "--epochs=3"),
        "val_mae",
        (0, 0.15),
    ),
    ("ratings", "two_towers"): (_ratings, ("--epochs=6",), "val_mae", (0, 0.3)),
}


def _train(folder, *flags, dataset, model, workers):
    run_dir = folder / f"run-{workers}"
    shared = [f"--dataset=datasets/{dataset}.py", f"--model=models/{model}.py"]
    shared += [f"--data_dir={folder / 'data'}", f"--run_dir={run_dir}", "--batch_size=8", *flags]
    ended = start_all(
        worker_commands(shared, num_workers=workers),
        deadline_seconds=DEADLINE_SECONDS,
        is_warm=True,
    )
    assert [one.code for one in ended] == [0] * workers, ended[0].err[-3000:]
    return json.loads((run_dir / "report.json").read_text())


@pytest.mark.parametrize(("dataset", "model"), RECIPES, ids=[name for name, _ in RECIPES])
def test_a_recipe_learns_alike_on_one_worker_and_on_two(tmp_path, dataset, model):
    write, flags, figure, (least, most) = RECIPES[dataset, model]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    found = [
        _train(tmp_path, *ADAM, *flags, dataset=dataset, model=model, workers=workers)["metrics"]
        for workers in (1, 2)
    ]
    assert all(least <= one[figure] <= most for one in found), found
    if model != "text_classifier":  # its dropout is each replica's own
        assert found[1] == pytest.approx(found[0], rel=0.02, abs=0.01)


def test_a_base_is_trained_in_two_phases(tmp_path):
    _classes(tmp_path / "data")
    flags = ["--dataset_option=validation_fraction=0.25", SMALL, "--epochs=1"]
    files = {"dataset": "image_folder", "model": "fine_tuned"}
    first = _train(tmp_path, *flags, *ADAM, "--model_option=weights=", **files, workers=1)
    plan = json.loads((tmp_path / "run-1" / "config.json").read_text())["plan"]
    assert plan["model"].endswith("of which 2,562 are trained")
    start = f"--model_option=start={tmp_path / 'run-1' / 'model.keras'}"
    slow = ("--optimizer=adam", "--learning_rate=0.00001")
    second = _train(tmp_path, *flags, *slow, start, **files, workers=2)
    plan = json.loads((tmp_path / "run-2" / "config.json").read_text())["plan"]
    assert "are trained" not in plan["model"]
    assert second["weights_sha256"] != first["weights_sha256"]
    assert second["metrics"]["val_loss"] == pytest.approx(first["metrics"]["val_loss"], abs=0.3)
