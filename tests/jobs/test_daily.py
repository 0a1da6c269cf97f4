"""What docs/daily.md says is done as it stands, in a folder of its own."""

import json
import os
import re
import shlex
import sys

import numpy as np
import pytest
from PIL import Image

from tests.jobs.workers import ROOT, start_all

pytestmark = pytest.mark.long

PAGE = (ROOT / "docs" / "daily.md").read_text()
DEADLINE_SECONDS = 400


def _block(heading, language="sh"):
    text = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A place like a checkout, with data where the page has it."""
    home = tmp_path_factory.mktemp("home")
    for name in ("launch", "datasets", "models", "tfscale", "tools"):
        (home / name).symlink_to(ROOT / name)
    for number in range(24):
        path = home / "data" / "flowers" / ("rose", "tulip")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((40, 40, 3), 30, np.uint8)
        pixels[..., number % 2] = 220
        Image.fromarray(pixels).save(path)
    (home / "data" / "wine").mkdir()
    for split in ("train", "validation"):
        rows = [f"{n % 3 + 0.1 * (n % 7)},{('red', 'rose', 'white')[n % 3]}" for n in range(24)]
        table = "acid,quality\n" + "\n".join(rows) + "\n"
        (home / "data" / "wine" / f"{split}.csv").write_text(table)
    return home


def _run(home, script):
    """Runs lines of the page in its place; the data lies there, and this Python runs them."""
    script = script.replace(".venv/bin/python", shlex.quote(sys.executable))
    script = script.replace("/data/", f"{shlex.quote(str(home / 'data'))}/")
    (ended,) = start_all([["sh", "-ec", script]], deadline_seconds=DEADLINE_SECONDS, cwd=home)
    assert ended.code == 0, ended.out[-2000:] + ended.err[-2000:]
    return ended.out


def _report(home, run):
    return json.loads((home / "runs" / run / "report.json").read_text())


def test_every_file_of_the_recipes_is_there():
    named = re.findall(r"`((?:datasets|models)/\w+\.py)`", PAGE)
    assert len(named) > 15
    assert all((ROOT / name).is_file() for name in named)


def test_class_folders(home):
    out = _run(home, _block("Class folders"))
    assert "validation data" in out
    assert _report(home, "flowers")["epochs"] == 2


def test_a_table(home):
    assert "0 red, 1 rose, 2 white" in " ".join(_run(home, _block("A table in a CSV")).split())
    assert _report(home, "wine")["metrics"]["accuracy"] > 0.2


def test_fine_tuning_in_two_phases(home):
    options = "--model_option=weights= --dataset_option=size=32,32"
    script = _block("Fine-tuning in two phases").replace("--batch_size", f"{options} --batch_size")
    out = _run(home, script)
    assert out.count("are trained") == 1
    assert _report(home, "all")["epochs"] == 1


def test_one_more_epoch_a_move_and_what_comes_after(home):
    out = _run(home, _block("One more epoch"))
    assert "resumes from" in out
    assert _report(home, "digits")["epochs"] == 3
    assert "resumes from" in _run(home, _block("Moving a run"))
    assert _report(home, "moved")["epochs"] == 4
    assert "'test', 360 examples" in _run(home, _block("After the training"))
    with np.load(home / "runs" / "digits" / "test.npz") as held:
        assert held["predictions"].shape == (360, 10)


def test_many_runs_side_by_side(home):
    script = _block("Many runs side by side").partition(".venv/bin/tensorboard")[0]
    _run(home, script)
    rates = [
        json.loads((home / "runs" / "rates" / rate / "config.json").read_text())["learning_rate"]
        for rate in ("0.01", "0.001")
    ]
    assert rates == [0.01, 0.001]


def test_a_tracker(home):
    model = (ROOT / "models" / "mlp.py").read_text()
    (home / "tracked.py").write_text(model + "\n\n" + _block("A tracker", "python"))
    _run(
        home,
        ".venv/bin/python launch/local.py --workers=2 -- --dataset=datasets/digits.py "
        "--model=tracked.py --run_dir=runs/tracked --epochs=2",
    )
    lines = [json.loads(line) for line in (home / "tracked.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert lines[1]["val_loss"] == pytest.approx(
        _report(home, "tracked")["metrics"]["val_loss"], abs=1e-6
    )
    assert os.path.getsize(home / "tracked.jsonl") > 0
