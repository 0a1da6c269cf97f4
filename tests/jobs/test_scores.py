"""Figures of whole splits are the same on every worker, and those of one process."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.jobs.playing import TWO
from tests.jobs.scenes.scores import labelled, small_detector
from tfscale.model.mean_average_precision import of_boxes, of_labels

pytestmark = pytest.mark.promise("scores")

FIGURE = "mean_average_precision"
SPLITS = {"validation": "val", "test": "test"}


@pytest.fixture(autouse=True)
def _forget_layers():
    yield
    keras.backend.clear_session()


@pytest.fixture
def small(monkeypatch):
    """The data set and the model of the scene, whose options are put back."""
    from datasets import shapes
    from models import detector

    monkeypatch.setattr(shapes, "size", shapes.size)
    for name in ("width", "learning_rate", "total_steps"):
        monkeypatch.setattr(detector, name, getattr(detector, name))
    return small_detector()


def _assert_all_have_heard(played, epochs):
    first, *others = played.workers
    figures = [logs[f"val_{FIGURE}"] for logs in first["epochs"]]
    assert len(figures) == epochs
    for worker in others:
        assert [logs[f"val_{FIGURE}"] for logs in worker["epochs"]] == figures
        assert worker["report"]["metrics"] == first["report"]["metrics"]
    assert first["report"]["metrics"][f"val_{FIGURE}"] == figures[-1]


@pytest.mark.plays("detection", on=[TWO], compared=False)
def test_two_workers_train_a_detector_that_finds_the_shapes(played):
    _assert_all_have_heard(played, epochs=6)
    metrics = played.workers[0]["report"]["metrics"]
    assert metrics[f"val_{FIGURE}"] > 0.5
    assert metrics[f"test_{FIGURE}"] > 0.5
    assert (played.run_dir.parent / "best.weights.h5").is_file()
    assert list(played.run_dir.glob("tensorboard/validation/*"))


@pytest.mark.plays("detection", on=[TWO], compared=False)
def test_what_two_workers_find_is_what_one_process_finds_with_the_same_weights(played, small):
    shapes, detector = small
    result = played.workers[0]
    model = detector.build(tf.TensorSpec((shapes.side, shapes.side, 3)), shapes.num_classes)
    model.set_weights(result["weights"])
    for split, prefix in SPLITS.items():
        examples = shapes.load(split).map(lambda record: shapes.preprocess(record, False))
        x, y = next(examples.batch(shapes.size).as_numpy_iterator())
        found = of_boxes(model.predict(x, batch_size=50, verbose=0), y)
        for name, value in found.items():
            assert result["report"]["metrics"][f"{prefix}_{name}"] == pytest.approx(value, abs=1e-6)


@pytest.mark.plays("several_labels", on=[TWO, (1, 4)], compared=False)
def test_what_several_replicas_make_of_labels_is_what_one_process_makes(played):
    _assert_all_have_heard(played, epochs=2)
    result = played.workers[0]
    kernel, bias = result["weights"]
    for split, prefix in SPLITS.items():
        x, y = labelled(split)
        expected = of_labels(x @ kernel + bias, y)[FIGURE]
        assert 0.3 < expected < 1.0
        assert result["report"]["metrics"][f"{prefix}_{FIGURE}"] == pytest.approx(
            expected, abs=1e-6
        )


def test_a_figure_of_other_labels_is_another_one():
    """What is compared above would show a row that is missing or at another's place."""
    x, y = labelled("validation")
    expected = of_labels(x[:, :5], y)[FIGURE]
    assert abs(of_labels(x[:-1, :5], y[:-1])[FIGURE] - expected) > 1e-4
    assert abs(of_labels(np.roll(x[:, :5], 1, axis=0), y)[FIGURE] - expected) > 1e-2
