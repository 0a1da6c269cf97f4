"""Mean average precision, of boxes as COCO and of labels as PASCAL VOC define it; plain NumPy.

Both are about a whole split: precision at a recall depends on the order of all predictions, so that
no mean over batches or replicas gives it.

T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014, https://arxiv.org/abs/1405.0312,
as its authors' pycocotools computes it. M. Everingham et al., "The PASCAL Visual Object Classes
(VOC) Challenge", 2010, in the version of VOC 2010 and later, which takes all points of the curve:
VOC 2012 development kit, section 3.4.1, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/.
"""

import contextlib
import importlib.util
import io
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tfscale.errors import ConfigError
from tfscale.structures import Foreign

Arrays = Mapping[str, np.ndarray]

# Where COCO's summary has each figure.
_FIGURES = {"mean_average_precision": 0, "average_precision_50": 1, "average_precision_75": 2}
_OF_SIZES = {
    "mean_average_precision_small": 3,
    "mean_average_precision_medium": 4,
    "mean_average_precision_large": 5,
}
OF_LABELS = "mean_average_precision"


def require_pycocotools(name: str) -> None:
    """Refuses at the start what would fail after the first epoch.

    Args:
        name: how to name what needs it.

    Raises:
        ConfigError: pycocotools isn't installed.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise ConfigError(
            f"{name} gives boxes, whose mean average precision pycocotools computes, which isn't "
            "installed; expected it. Install it with: pip install pycocotools"
        )


def of_boxes(detections: Arrays, truth: Arrays) -> dict[str, float]:
    """COCO's average precision of boxes: the mean over IoU 0.5, 0.55, ..., 0.95 and classes.

    Of images of one truth in one order, the same detections give the same figures bit for bit.

    Args:
        detections: of n images: "boxes" (n, d, 4) as (y_min, x_min, y_max, x_max), "scores" (n, d)
            and "classes" (n, d), whole numbers; -1 fills. Of an image and class, the 100 with the
            highest scores count.
        truth: of the same images: "boxes" (n, m, 4) in the same unit and "classes" (n, m); -1
            fills. Also, where there are: "crowd" (n, m), true for a box around a group, in which
            any number of detections is neither right nor wrong; "difficult" (n, m), true for an
            object that needs not be found; "size" (n, 2), height and width of each image in
            pixels, where boxes are relative.

    Returns:
        "mean_average_precision", "average_precision_50" and "average_precision_75", in 0..1. With
        "size" also the first one of objects up to 32 x 32 pixels ("..._small"), up to 96 x 96
        ("..._medium") and larger ("..._large"), by the areas of their boxes. Not-a-number where
        there is no such object.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it prints whatever it does
        summary = _coco_summary(_annotations(detections, truth), _annotations(truth, truth))
    wanted = _wanted(truth)
    figures = {name: float(summary[place]) for name, place in wanted.items()}
    return {name: math.nan if value < 0 else value for name, value in figures.items()}


def names_of_boxes(truth: Collection[str]) -> list[str]:
    """The names of what `of_boxes` gives for such a truth."""
    return list(_wanted(truth))


def _wanted(truth: Collection[str]) -> dict[str, int]:
    return _FIGURES | (_OF_SIZES if "size" in truth else {})


def of_labels(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The mean of `average_precisions` over the classes that occur.

    Args:
        scores: as there.
        truth: as there.

    Returns:
        "mean_average_precision", in 0..1; not-a-number where no class occurs.
    """
    of_classes = average_precisions(scores, truth)
    occur = (np.asarray(truth) > 0).any(axis=0)
    mean = float(of_classes[occur].mean()) if occur.any() else math.nan
    return {OF_LABELS: mean}


def average_precisions(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """PASCAL VOC's average precision of each class, by all points of the curve.

    Args:
        scores: (n, classes), higher for what is more likely there; logits or probabilities.
        truth: (n, classes), 1 where a label is there and 0 where it isn't; below 0 where it doesn't
            count, as VOC's difficult objects don't.

    Returns:
        float64 (classes,) in 0..1; not-a-number for a class that doesn't occur, or of which a
        score is not a number.
    """
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(
            f"Scores {scores.shape} and truth {truth.shape}; expected both (examples, classes)."
        )
    of_classes = zip(scores.T, truth.T, strict=True)
    return np.array([_average_precision(*of_class) for of_class in of_classes])


def _average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    counts = truth >= 0
    scores, is_there = scores[counts], truth[counts] > 0
    if not is_there.any() or np.isnan(scores).any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    scores, is_there = scores[order], is_there[order]
    # What has one score is found together: else the order of the examples would decide.
    last = np.append(scores[1:] != scores[:-1], True)
    found = np.cumsum(is_there)[last]
    precision = found / (np.flatnonzero(last) + 1)
    recall = found / found[-1]
    highest_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * highest_from_here))


def _annotations(boxes: Arrays, truth: Arrays) -> dict[str, Any]:
    """Boxes as a COCO file has them; of `truth` itself, or of detections on its images."""
    num_images = len(truth["boxes"])
    sizes = np.asarray(truth.get("size", np.ones((num_images, 2))), np.float64)
    classes = np.asarray(boxes["classes"])
    corners = np.asarray(boxes["boxes"], np.float64) * np.tile(sizes, 2)[:, np.newaxis]
    images, places = np.nonzero(classes >= 0)
    first, last = np.split(corners[images, places], 2, axis=-1)
    of_boxes = {
        "image_id": images,
        "category_id": classes[images, places],
        "bbox": np.concatenate([first, last - first], axis=-1)[:, [1, 0, 3, 2]],
        "area": np.prod(last - first, axis=-1),
        "iscrowd": np.zeros(len(images), np.int64),
        **{
            _EXTRA[name]: np.asarray(boxes[name])[images, places]
            for name in _EXTRA
            if name in boxes
        },
    }
    rows = zip(*(values.tolist() for values in of_boxes.values()), strict=True)
    # pycocotools takes a number of 0 for no match.
    annotations = [
        {"id": number, **dict(zip(of_boxes, row, strict=True))}
        for number, row in enumerate(rows, start=1)
    ]
    return {
        "images": [{"id": number} for number in range(num_images)],
        "categories": [{"id": int(one)} for one in np.unique(classes[classes >= 0])],
        "annotations": annotations,
    }


_EXTRA = {"scores": "score", "crowd": "iscrowd", "difficult": "difficult"}  # ours -> COCO's


def _coco_summary(found: dict[str, Any], truth: dict[str, Any]) -> Foreign:
    """COCO's twelve figures, -1 where there is nothing to find."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class Evaluation(COCOeval):
        def _prepare(self) -> None:
            """Leaves difficult objects out, which pycocotools would only do with groups."""
            super()._prepare()
            for objects in self._gts.values():
                for one in objects:
                    one["ignore"] = bool(one["iscrowd"] or one.get("difficult", 0))

    if not truth["annotations"]:
        return [-1.0] * 12
    known = []
    for content in (truth, found):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        known.append(coco)
    evaluation = Evaluation(*known, iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats
