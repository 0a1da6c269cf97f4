import importlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from datasets import digits, prepared, shapes, synthetic
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.errors import ConfigError
from tools.prepare.preparation import Layout, prepare
from tools.prepare.shards import write_share
from tools.prepare.split_records import Asked

READY = sorted(Path(digits.__file__).parent.glob("*.py"))
# What was prepared is another file's data, whose preprocess and command it takes.
OF_THEIR_OWN = [path for path in READY if path.stem != "prepared"]


def _records(module, split):
    return list(module.load(split).as_numpy_iterator())


def _examples(module, split, training=True):
    mapped = module.load(split).map(lambda record: module.preprocess(record, training))
    return list(mapped.as_numpy_iterator())


def test_digits_has_1257_train_180_validation_and_360_test_records():
    sizes = [int(digits.load(split).cardinality()) for split in digits.splits]
    assert sizes == [1257, 180, 360]


def test_digits_splits_together_hold_every_image_exactly_once():
    def fingerprints(images):
        return sorted(image.tobytes() for image in images)

    ours = [record["image"] for split in digits.splits for record in _records(digits, split)]
    with np.load(Path(digits.__file__).parent / "digits.npz") as file:
        assert fingerprints(ours) == fingerprints(file["images"])


def test_digits_are_those_of_the_source():
    records = [record for split in digits.splits for record in _records(digits, split)]
    # How often the source says that each digit comes, and all its grey levels together.
    counts = np.bincount([record["label"] for record in records])
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert sum(int(record["image"].sum()) for record in records) == 561718


def test_digits_come_in_the_same_order_every_time():
    first, second = (_records(digits, "validation") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a["label"] == b["label"]
        np.testing.assert_array_equal(a["image"], b["image"])


def test_digits_every_split_holds_every_class():
    for split in digits.splits:
        labels = {int(record["label"]) for record in _records(digits, split)}
        assert labels == set(range(digits.num_classes)), split


def test_digits_preprocess_gives_float_images_between_0_and_1():
    examples = _examples(digits, "test")
    x = np.stack([example[0] for example in examples])
    assert x.dtype == np.float32
    assert x.shape == (360, 8, 8, 1)
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert examples[0][1].dtype == np.int64


def test_digits_preprocess_keeps_label_and_image_together():
    record = _records(digits, "train")[7]
    x, y = digits.preprocess({key: tf.constant(value) for key, value in record.items()}, True)
    np.testing.assert_array_equal(x.numpy()[..., 0] * 16, record["image"])
    assert y.numpy() == record["label"]


def _called(module, split):
    wants_folder = "data_dir" in inspect.signature(module.load).parameters
    return module.load(split, "nowhere") if wants_folder else module.load(split)


@pytest.mark.parametrize("path", OF_THEIR_OWN, ids=lambda path: path.stem)
def test_a_ready_file_is_one_that_a_run_takes(path):
    file = read_dataset_file(str(path))
    assert file.splits[:2] == ("train", "validation")
    # What the data says itself, no file has to.
    counted = file.task == "regression" or path.stem in ("csv_texts", "image_folder", "tags")
    assert file.num_classes is None if counted else isinstance(file.num_classes, int)
    assert callable(file.preprocess)


@pytest.mark.parametrize("path", OF_THEIR_OWN, ids=lambda path: path.stem)
def test_a_ready_file_says_the_command_that_trains_with_it(path):
    module = importlib.import_module(f"datasets.{path.stem}")
    command = module.__doc__.partition("\n\n    ")[2].partition("\n\n")[0]
    assert command.startswith(("python launch/worker.py ", "python launch/local.py "))
    flags = ["--dataset=datasets/" + path.name, "--model=models/", "--run_dir=", "--batch_size="]
    if "data_dir" in inspect.signature(module.load).parameters:
        flags.append("--data_dir=")
    assert not [flag for flag in flags if flag not in command]


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_file_can_be_run_by_itself_without_hiding_a_module_of_python(path):
    # Python looks for modules beside the file that it was started with.
    assert path.stem not in sys.stdlib_module_names
    assert path.stem not in ("keras", "numpy", "tensorflow", "tensorflow_datasets", "tfscale")


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_an_unknown_split_is_refused_with_the_known_ones(path):
    module = importlib.import_module(f"datasets.{path.stem}")
    with pytest.raises(ValueError, match="no split 'dev'.*train, validation"):
        _called(module, "dev")


def test_synthetic_size_can_be_set_before_load(monkeypatch):
    monkeypatch.setattr(synthetic, "size", 80)
    assert _records(synthetic, "train") == list(range(80))
    assert _records(synthetic, "validation") == list(range(80, 90))


def test_synthetic_shape_and_classes_can_be_set(monkeypatch):
    monkeypatch.setattr(synthetic, "size", 6)
    monkeypatch.setattr(synthetic, "shape", (4, 5, 1))
    monkeypatch.setattr(synthetic, "num_classes", 3)
    examples = _examples(synthetic, "train")
    assert [int(y) for _, y in examples] == [0, 1, 2, 0, 1, 2]
    assert {(x.shape, x.dtype.name) for x, _ in examples} == {((4, 5, 1), "float32")}


def test_synthetic_examples_depend_on_seed_and_index_alone(monkeypatch):
    monkeypatch.setattr(synthetic, "size", 16)
    once, again = (_examples(synthetic, "train") for _ in range(2))
    for (x, _), (same, _) in zip(once, again, strict=True):
        np.testing.assert_array_equal(x, same)
    assert not np.array_equal(once[0][0], once[10][0]), "two examples of a class must differ"
    monkeypatch.setattr(synthetic, "seed", 1)
    assert not np.array_equal(once[0][0], _examples(synthetic, "train")[0][0])


def test_synthetic_classes_can_be_told_apart_by_their_grey_level(monkeypatch):
    monkeypatch.setattr(synthetic, "size", 40)
    examples = _examples(synthetic, "train")
    grey = np.array([x.mean() for x, _ in examples])
    label = np.array([y for _, y in examples])
    assert np.stack([x for x, _ in examples]).min() >= 0.0
    assert np.stack([x for x, _ in examples]).max() <= 1.0
    np.testing.assert_allclose(grey, 0.25 + 0.05 * label, atol=0.02)


def _write_in_this_process(whole, processes, tell):
    write_share(whole, tell)


def test_prepared_gives_the_splits_that_were_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.prepare.preparation.write_shards", _write_in_this_process)
    asked = Asked(digits.__file__, "train")
    prepare(asked, Layout(num_shards=2), tmp_path / "train", lambda done, total: None)
    monkeypatch.setattr(prepared, "folder", str(tmp_path))
    assert prepared.load("train").num_records == 1257
    assert prepared.load("validation") is None


def test_prepared_without_a_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "folder", str(tmp_path))
    with pytest.raises(ConfigError, match="train has no manifest.json"):
        prepared.load("train")


def test_shapes_splits_share_no_index(monkeypatch):
    monkeypatch.setattr(shapes, "size", 80)
    indices = [_records(shapes, split) for split in shapes.splits]
    assert indices == [list(range(80)), list(range(80, 90)), list(range(90, 100))]


@pytest.fixture(scope="module")
def drawn():
    """The first 40 examples of the shapes."""
    mapped = shapes.load("train").take(40).map(lambda record: shapes.preprocess(record, True))
    return list(mapped.as_numpy_iterator())


def test_shapes_have_one_to_four_objects_of_every_class(drawn):
    counts = [int((y["classes"] >= 0).sum()) for _, y in drawn]
    assert 1 <= min(counts) < max(counts) == 4
    kinds = np.concatenate([y["classes"] for _, y in drawn])
    assert set(kinds.tolist()) == {-1, *range(shapes.num_classes)}
    assert (kinds.dtype, drawn[0][1]["boxes"].dtype) == (np.int64, np.float32)


def test_shapes_are_images_between_0_and_1(drawn):
    images = np.stack([x for x, _ in drawn])
    assert (images.shape, images.dtype) == ((40, 64, 64, 3), np.float32)
    assert 0.0 <= images.min() < images.max() <= 1.0


def _pixels(box):
    """Rows and columns that a box covers."""
    y_min, x_min, y_max, x_max = np.rint(box * shapes.side).astype(int)
    return slice(y_min, y_max), slice(x_min, x_max)


def test_shapes_boxes_end_where_the_shapes_do(drawn):
    for x, y in drawn:
        covered = x.max(axis=-1) > 0.8 * 0.35 * 0.98  # the darkest colour, without noise
        outside = covered.copy()
        for box, kind in zip(y["boxes"], y["classes"], strict=True):
            if kind < 0:
                assert not box.any()
                continue
            inside = covered[_pixels(box)]
            outside[_pixels(box)] = False
            edges = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
            assert all(edge.any() for edge in edges)
            part = {0: 1.0, 1: np.pi / 4, 2: 0.5}[int(kind)]  # of its box that a shape covers
            assert inside.mean() == pytest.approx(part, abs=0.12)
        assert not outside.any()


def test_shapes_are_other_ones_with_another_seed_or_index(drawn, monkeypatch):
    (once, _), (other, _) = drawn[:2]
    again, _ = shapes.preprocess(tf.constant(0, tf.int64), False)
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    monkeypatch.setattr(shapes, "seed", 1)
    assert not np.array_equal(once, shapes.preprocess(tf.constant(0, tf.int64), False)[0])
