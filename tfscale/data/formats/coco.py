"""The COCO layout: `annotations/instances_train2017.json` and the pictures in `train2017/`.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014,
https://arxiv.org/abs/1405.0312; the form of the file: https://cocodataset.org/#format-data.
"""

import functools
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tfscale.data.collection import Collection
from tfscale.data.formats import boxes, held, photo_notes
from tfscale.errors import ConfigError

_LOG = logging.getLogger(__name__)
_SEGMENTS = ("segmentation", "keypoints")  # most of a file, and nothing that is read here


@dataclass(frozen=True)
class _Instances:
    """An annotation file without its outlines.

    Args:
        path: of the file.
        classes: name of each category, by its number in the file, in the order of the numbers.
        files: name of each picture.
        image_ids: (pictures,).
        sizes: (pictures, 2), height and width in pixels.
        owner: (boxes,), the picture of each box, in ascending order.
        boxes: (boxes, 4), x, y, width, height in pixels.
        categories: (boxes,), as the file numbers them.
        areas: (boxes,), of the outline, in square pixels.
        is_crowd: (boxes,).
    """

    path: str
    classes: dict[int, str]
    files: list[str]
    image_ids: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.float64]
    owner: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    categories: npt.NDArray[np.int64]
    areas: npt.NDArray[np.float32]
    is_crowd: npt.NDArray[np.bool_]


def class_names(folder: str, split: str) -> list[str]:
    """Names of the categories, in the order of their numbers in the file, which has gaps.

    Raises:
        ConfigError: the annotation file can't be used.
    """
    return list(_instances(folder, split).classes.values())


def records(
    folder: str,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    max_boxes: int = 100,
) -> Collection:
    """The pictures of one split, in the order of the annotation file, with boxes or without.

    Boxes without width or height are left out, as COCO's own training split has some; how many is
    written to the log.

    Args:
        folder: with `annotations` and the folder of the pictures.
        split: such as "train2017", in the names of both.
        classes: names of the categories in the order of their numbers, for every split the same.
            None takes those of the file.
        max_boxes: places for boxes in a record.

    Returns:
        Records `{"path": text, "image_id": int64, "size": int64 (2,) height and width in pixels,
        "boxes": float32 (max_boxes, 4) y_min, x_min, y_max, x_max in 0..1, "classes": int64
        (max_boxes,), -1 where there is no box, "crowd": bool (max_boxes,), "areas": float32
        (max_boxes,) in square pixels}`.

    Raises:
        ConfigError: a file is missing or isn't what it should be, a box has a category that isn't
            there or lies outside its picture, or a picture has too many.
    """
    found = _instances(folder, split)
    _require_pictures(os.path.join(folder, split), found)

    def picture(at: int) -> str:
        return os.path.join(folder, split, found.files[at])

    leaves = {
        "path": held.texts(f"{split}/{name}" for name in found.files),
        "image_id": found.image_ids,
        "size": found.sizes.astype(np.int64),
        **_rows(found, classes, max_boxes, picture),
    }
    note = photo_notes.of_first(os.path.join(folder, split), list(found.files))
    return replace(
        held.below(held.collection(found.path, leaves, picture), "path", folder), note=note
    )


def _rows(
    found: _Instances, classes: Sequence[str] | None, max_boxes: int, picture: held.PlaceOf
) -> dict[str, held.Rows]:
    """What belongs to the boxes of each picture."""
    kept = _with_area(found, picture)
    owner = found.owner[kept]
    x, y, width, height = found.boxes[kept].T
    relative = boxes.relative(
        found.path,
        np.stack([y, x, y + height, x + width], axis=1),
        found.sizes[owner],
        lambda at: f"{found.path}: {picture(owner[at])}",
    )
    values: list[tuple[npt.NDArray[Any], float | int | bool]] = [
        (relative, 0.0),
        (_numbered(found, classes, picture)[kept], boxes.FILL_CLASS),
        (found.is_crowd[kept], False),
        (found.areas[kept], 0.0),
    ]
    counts = np.bincount(owner, minlength=len(found.files)).astype(np.int64)
    rows = boxes.filled_up(counts, max_boxes, picture, values)
    return dict(zip(("boxes", "classes", "crowd", "areas"), rows, strict=True))


def _instances(folder: str, split: str) -> _Instances:
    path = os.path.join(folder, "annotations", f"instances_{split}.json")
    try:
        state = os.stat(path)
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read ({error.strerror}); expected the annotations of {split!r}."
        ) from error
    return _parsed(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=2)  # classes and records of a split, of half a gigabyte of text
def _parsed(path: str, num_bytes: int, modified: int) -> _Instances:
    """What is in a file; size and time tell it from what was there before."""
    del num_bytes, modified
    try:
        with open(path, encoding="utf-8") as file:
            return _arranged(path, json.load(file, object_hook=_without_segments))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise ConfigError(
            f"{path} can't be read as COCO's annotations ({type(error).__name__}: {what}); "
            "expected JSON with images, annotations and categories."
        ) from error


def _without_segments(found: dict[str, Any]) -> dict[str, Any]:
    """Outlines are forgotten while the file is read: of all pictures they need gigabytes."""
    for key in _SEGMENTS:
        found.pop(key, None)
    return found


def _arranged(path: str, content: dict[str, Any]) -> _Instances:
    images, annotations = content["images"], content["annotations"]
    place = {image["id"]: at for at, image in enumerate(images)}
    if not images or len(place) < len(images):
        raise ConfigError(f"{path} has no pictures, or two of one id; expected ids of their own.")
    strange = [one["id"] for one in annotations if one["image_id"] not in place]
    if strange:
        raise ConfigError(
            f"{path} has the annotation {strange[0]} of a picture that it doesn't list; expected "
            "every image_id in images."
        )
    owner = np.array([place[one["image_id"]] for one in annotations], np.int64)
    order = np.argsort(owner, kind="stable")
    categories = sorted(content["categories"], key=lambda one: int(one["id"]))

    def column(key: str, dtype: Any, *shape: int, default: Any = None) -> npt.NDArray[Any]:  # noqa: ANN401 - as NumPy takes it
        values = [one[key] if default is None else one.get(key, default) for one in annotations]
        array = np.array(values, dtype).reshape(len(values), *shape)
        return array[order]

    return _Instances(
        path=path,
        classes={int(one["id"]): str(one["name"]) for one in categories},
        files=[image["file_name"] for image in images],
        image_ids=np.array(list(place), np.int64),
        sizes=np.array([(image["height"], image["width"]) for image in images], np.float64),
        owner=owner[order],
        boxes=column("bbox", np.float64, 4),
        categories=column("category_id", np.int64),
        areas=column("area", np.float32, default=0.0),
        is_crowd=column("iscrowd", np.bool_, default=0),
    )


def _require_pictures(folder: str, found: _Instances) -> None:
    try:
        there = set(os.listdir(folder))  # one look, however many pictures and however far away
    except OSError as error:
        raise ConfigError(
            f"{folder} can't be read ({error.strerror}); expected the folder of the pictures."
        ) from error
    for name in found.files:
        if name not in there and not os.path.isfile(os.path.join(folder, name)):
            raise ConfigError(
                f"{os.path.join(folder, name)} is missing, which {found.path} lists; expected "
                "every picture. Unpack the archive again."
            )


def _with_area(found: _Instances, picture: held.PlaceOf) -> npt.NDArray[np.intp]:
    """Places of the boxes that have width and height."""
    extents = found.boxes[:, 2:]
    empty = np.flatnonzero((extents >= 0).all(axis=1) & (extents == 0).any(axis=1))
    if len(empty):
        _LOG.warning(
            "%s: %d boxes without width or height were left out, the first one of %s.",
            found.path,
            len(empty),
            picture(found.owner[empty[0]]),
        )
    return np.setdiff1d(np.arange(len(found.boxes)), empty)


def _numbered(
    found: _Instances, classes: Sequence[str] | None, picture: held.PlaceOf
) -> npt.NDArray[np.int64]:
    """The class of every box, counted from 0 without the gaps of the file."""
    names = list(found.classes.values() if classes is None else classes)
    if len(set(names)) < len(names) or not set(found.classes.values()) <= set(names):
        raise ConfigError(
            f"{found.path} has the categories {', '.join(found.classes.values())}; expected each "
            f"once, and those of training: {', '.join(names)}."
        )
    numbers = {category: names.index(name) for category, name in found.classes.items()}
    wrong = [at for at, category in enumerate(found.categories) if category not in numbers]
    if wrong:
        at = wrong[0]
        raise ConfigError(
            f"{found.path} has a box of category {found.categories[at]} in "
            f"{picture(found.owner[at])}; expected one of the file's categories, "
            f"{', '.join(map(str, numbers))}."
        )
    return np.array([numbers[category] for category in found.categories.tolist()], np.int64)
