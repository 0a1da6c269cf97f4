from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.errors import ConfigError
from tfscale.model import mean_average_precision
from tfscale.model.scoring import scoring_of

BOXES = {"boxes": tf.TensorSpec((8, 5, 4)), "classes": tf.TensorSpec((8, 5), tf.int64)}
DETECTIONS = {
    "boxes": tf.zeros((8, 100, 4)),
    "scores": tf.zeros((8, 100)),
    "classes": tf.zeros((8, 100)),
}


def _scoring(task, labels):
    dataset = DatasetFile("flowers", load=lambda split: None, task=task)
    return scoring_of(dataset, (tf.TensorSpec((8, 6, 6, 3)), labels))


def test_detection_has_the_mean_average_precision_of_coco():
    scoring = _scoring("detection", BOXES)
    assert "COCO" in scoring.described
    assert scoring.is_defined_for(DETECTIONS)
    box = np.array([[[0.1, 0.2, 0.5, 0.9]]])
    truth = {"boxes": box, "classes": np.array([[2]])}
    found = {**truth, "scores": np.array([[0.4]])}
    assert scoring.figures(found, truth)["mean_average_precision"] == pytest.approx(1.0)


def test_several_labels_have_that_of_voc():
    scoring = _scoring("multilabel", tf.TensorSpec((8, 4)))
    assert "VOC" in scoring.described
    assert scoring.is_defined_for(tf.zeros((8, 4)))
    scores, truth = np.array([[2.0, -1.0], [-3.0, 1.0]]), np.array([[1, 0], [0, 1]])
    assert scoring.figures(scores, truth) == {"mean_average_precision": 1.0}


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("classification", tf.TensorSpec((8,), tf.int64)),
        ("classification", tf.TensorSpec((8, 4))),
        ("regression", tf.TensorSpec((8, 4))),
        ("detection", tf.TensorSpec((8, 4))),  # one box, with a loss of the user's own
        ("detection", {"boxes": BOXES["boxes"]}),
        ("detection", {**BOXES, "boxes": tf.TensorSpec((8, 5, 5))}),  # turned boxes
        ("detection", {**BOXES, "classes": tf.TensorSpec((8,), tf.int64)}),
        ("multilabel", tf.TensorSpec((8, 6, 6, 4))),  # of each pixel
        ("multilabel", {"a": tf.TensorSpec((8, 4))}),
    ],
)
def test_other_labels_have_none(task, labels):
    assert _scoring(task, labels) is None


@pytest.mark.parametrize(
    ("task", "labels", "outputs"),
    [
        ("detection", BOXES, {name: DETECTIONS[name] for name in ("boxes", "classes")}),
        ("detection", BOXES, tf.zeros((8, 100, 6))),
        ("detection", BOXES, {**DETECTIONS, "boxes": [tf.zeros((100, 4))] * 8}),
        ("multilabel", tf.TensorSpec((8, 4)), tf.zeros((8, 5))),
        ("multilabel", tf.TensorSpec((8, 4)), [tf.zeros((8, 4)), tf.zeros((8, 2))]),
    ],
)
def test_it_is_not_defined_for_outputs_of_another_kind(task, labels, outputs):
    assert not _scoring(task, labels).is_defined_for(outputs)


def test_what_a_measure_needs_is_asked_for_at_the_start(monkeypatch):
    without = SimpleNamespace(find_spec=lambda name: None)
    monkeypatch.setattr(mean_average_precision.importlib, "util", without)
    with pytest.raises(ConfigError, match="flowers gives boxes.*pip install pycocotools"):
        _scoring("detection", BOXES)
    assert _scoring("multilabel", tf.TensorSpec((8, 4))) is not None
