"""What is measured on the predictions of a whole split: which task has it, and of which outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.model import mean_average_precision
from tfscale.structures import Spec, Structure

_BOXES = ("boxes", "classes")


@dataclass(frozen=True)
class Scoring:
    """A measure of predictions, of all examples of a split together.

    Args:
        is_defined_for: whether it is defined for outputs of these shapes; tensors of a batch.
        wanted: what outputs have to be, in words.
        names: of the figures.
        figures: of the outputs and the labels of all examples, NumPy arrays in the structures that
            `predict_step` gives and y has: figures by their names.
        described: what it is, for the plan.
    """

    is_defined_for: Callable[[Structure], bool]
    wanted: str
    names: Sequence[str]
    figures: Callable[[Structure, Structure], dict[str, float]]
    described: str


def scoring_of(dataset: DatasetFile, spec: Spec) -> Scoring | None:
    """What is measured for the task of a data set, if its labels are such that it is defined.

    Args:
        dataset: the user's.
        spec: of one replica's `(x, y[, sample_weight])`.

    Returns:
        COCO's mean average precision for detection, where y is a dict with "boxes" (m, 4) and
        "classes" (m,); that of PASCAL VOC for several labels (classes,); else None.

    Raises:
        ConfigError: a package that it needs isn't installed.
    """
    labels: Spec = spec[1]
    if dataset.task == "detection" and _are_boxes(labels, _BOXES):
        mean_average_precision.require_pycocotools(dataset.name)
        return Scoring(
            is_defined_for=lambda outputs: _are_boxes(outputs, (*_BOXES, "scores")),
            wanted='a dict with "boxes" (n, 4), "scores" (n,) and "classes" (n,) for each example',
            names=mean_average_precision.names_of_boxes(labels),
            figures=mean_average_precision.of_boxes,
            described="COCO's, over IoU 0.5 to 0.95, of all predictions of a split together",
        )
    if dataset.task == "multilabel" and _is_table(labels):
        num_labels = labels.shape[1]
        return Scoring(
            is_defined_for=lambda outputs: _is_table(outputs) and outputs.shape[1] == num_labels,
            wanted=f"{num_labels} numbers for each example",
            names=[mean_average_precision.OF_LABELS],
            figures=mean_average_precision.of_labels,
            described="PASCAL VOC's by all points, of all predictions of a split together",
        )
    return None


def _are_boxes(structure: Structure, names: tuple[str, ...]) -> bool:
    if not isinstance(structure, dict) or not set(names) <= set(structure):
        return False
    parts = [structure[name] for name in names]
    if not all(_is_array(part) for part in parts):
        return False
    boxes, *rest = (part.shape for part in parts)
    return (
        len(boxes) == 3 and boxes[-1] == 4 and all(tuple(one) == tuple(boxes[:2]) for one in rest)
    )


def _is_table(structure: Structure) -> bool:
    return _is_array(structure) and len(structure.shape) == 2


def _is_array(leaf: Structure) -> bool:
    return isinstance(leaf, tf.TensorSpec | tf.Tensor)
