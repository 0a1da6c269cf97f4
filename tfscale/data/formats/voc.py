"""The PASCAL VOC layout: `VOC2007/ImageSets/Main/*.txt`, `Annotations/*.xml`, `JPEGImages/*`.

Source: M. Everingham et al., "The PASCAL Visual Object Classes Challenge 2007 (VOC2007) Development
Kit", http://host.robots.ox.ac.uk/pascal/VOC/voc2007/devkit_doc_07-Jun-2007.pdf. Many tools that
draw boxes write the same layout with classes of their own.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from tfscale.data.collection import Collection
from tfscale.data.formats import boxes, held, photo_notes
from tfscale.errors import ConfigError

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

_ENDINGS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")  # the first is VOC's own


@dataclass(frozen=True)
class _Annotation:
    """What an XML file says; a row for each object.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        pixels: (objects, 4), y_min, x_min, y_max, x_max.
        classes: (objects,).
        difficult: (objects,).
    """

    height: float
    width: float
    pixels: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    difficult: npt.NDArray[np.bool_]


def records(
    folder: str, split: str, *, max_boxes: int = 64, classes: Sequence[str] = CLASSES
) -> Collection:
    """The pictures of one split, in the order of its list.

    VOC counts pixels from 1, and a box has its last row and column: one of xmin=1 and xmax=W is as
    wide as its picture, and becomes 0 to 1.

    Args:
        folder: of one year, such as "VOCdevkit/VOC2007".
        split: name of a list in ImageSets/Main, such as "trainval".
        max_boxes: places for boxes in a record.
        classes: names of the objects, in the order of their numbers.

    Returns:
        Records `{"path": text, "image_id": text, "size": int64 (2,) height and width in pixels,
        "boxes": float32 (max_boxes, 4) y_min, x_min, y_max, x_max in 0..1, "classes": int64
        (max_boxes,), -1 where there is no box, "difficult": bool (max_boxes,), "labels": float32
        (classes,), 1 for each class of which there is an object, "labels_no_difficult": the same
        without difficult ones}`.

    Raises:
        ConfigError: a file is missing or isn't what it should be, an object is of none of the
            classes, a box has no area, or a picture has too many.
    """
    name = os.path.join(folder, split)
    images = _listed(folder, split)
    ids = list(images)
    files = [os.path.join(folder, "Annotations", f"{image_id}.xml") for image_id in ids]
    numbers = {label: number for number, label in enumerate(classes)}
    found = [_read(path, numbers) for path in files]
    leaves = {
        "path": held.texts(images.values()),
        "image_id": held.texts(ids),
        "size": np.array([(one.height, one.width) for one in found], np.int64),
        **_rows(name, found, files, max_boxes),
        "labels": _labels([one.classes for one in found], len(classes)),
        "labels_no_difficult": _labels(
            [one.classes[~one.difficult] for one in found], len(classes)
        ),
    }
    listed = held.collection(name, leaves, lambda at: os.path.join(folder, images[ids[at]]))
    note = photo_notes.of_first(folder, list(images.values()))
    return replace(held.below(listed, "path", folder), note=note)


def _rows(
    name: str, found: Sequence[_Annotation], files: Sequence[str], max_boxes: int
) -> dict[str, held.Rows]:
    """What belongs to the boxes of each picture."""
    counts = np.array([len(one.classes) for one in found], np.int64)
    owner = np.repeat(np.arange(len(found)), counts)
    sizes = np.array([(one.height, one.width) for one in found])[owner].reshape(-1, 2)
    pixels = np.concatenate([one.pixels for one in found])
    values: list[tuple[npt.NDArray[Any], float | int | bool]] = [
        (boxes.relative(name, pixels, sizes, lambda at: files[owner[at]]), 0.0),
        (np.concatenate([one.classes for one in found]), boxes.FILL_CLASS),
        (np.concatenate([one.difficult for one in found]), False),
    ]
    rows = boxes.filled_up(counts, max_boxes, files.__getitem__, values)
    return dict(zip(("boxes", "classes", "difficult"), rows, strict=True))


def _labels(
    of_pictures: Sequence[npt.NDArray[np.int64]], num_classes: int
) -> npt.NDArray[np.float32]:
    """1 for each class of each picture that is there, 0 for the others."""
    labels = np.zeros((len(of_pictures), num_classes), np.float32)
    for row, classes in zip(labels, of_pictures, strict=True):
        row[classes] = 1.0
    return labels


def _listed(folder: str, split: str) -> dict[str, str]:
    """Path of each picture of a split, below the folder, by its name in the list."""
    path = Path(folder, "ImageSets", "Main", f"{split}.txt")
    lines = _text(path, "a list with the name of a picture on each line").splitlines()
    pictures = os.path.join(folder, "JPEGImages")
    try:
        there = set(os.listdir(pictures))  # one look, however many pictures and however far away
    except OSError as error:
        raise ConfigError(
            f"{pictures} can't be read ({error.strerror}); expected the folder of the pictures."
        ) from error
    found = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) > 1:
            raise ConfigError(
                f"{path}, line {number} is {line!r}; expected the name of a picture alone. Use a "
                'split of all classes, such as "trainval".'
            )
        files = [words[0] + ending for ending in _ENDINGS if words[0] + ending in there]
        if not files:
            raise ConfigError(
                f"{pictures}/{words[0]}.jpg is missing, which line {number} of {path} names; "
                "expected every picture of the list. Unpack the archive again."
            )
        found[words[0]] = f"JPEGImages/{files[0]}"
    if not found:
        raise ConfigError(f"{path} names no picture; expected at least one.")
    return found


def _read(path: str, numbers: dict[str, int]) -> _Annotation:
    text = _text(Path(path), "an annotation in XML")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ConfigError(f"{path} has a document type; expected an annotation without one.")
    try:
        # S314 fears entities that unfold without end: those need the document type refused above.
        root = ElementTree.fromstring(text)  # noqa: S314
        size = root.find("size")
        height, width = _numbers(size, ("height", "width"))
        objects = root.findall("object")
        corners = [_numbers(item.find("bndbox"), _CORNERS) for item in objects]
        difficult = [(item.findtext("difficult") or "0").strip() == "1" for item in objects]
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(
            f"{path} can't be read as an annotation ({error}); expected VOC's XML, with a size and "
            "a bndbox of four numbers for each object."
        ) from error
    pixels = np.array(corners, np.float64).reshape(-1, 4) - (1.0, 1.0, 0.0, 0.0)
    classes = [_class_of(item, numbers, path) for item in objects]
    return _Annotation(
        height, width, pixels, np.array(classes, np.int64), np.array(difficult, np.bool_)
    )


_CORNERS = ("ymin", "xmin", "ymax", "xmax")


def _numbers(parent: ElementTree.Element | None, names: Sequence[str]) -> list[float]:
    """The numbers of an element's children; raises ValueError where there is none."""
    if parent is None:
        raise ValueError(f"no {', '.join(names)}")
    return [float(parent.findtext(name) or f"no {name}") for name in names]


def _class_of(item: ElementTree.Element, numbers: dict[str, int], path: str) -> int:
    name = (item.findtext("name") or "").strip()
    if name not in numbers:
        raise ConfigError(
            f"{path} has an object of class {name!r}; expected one of {', '.join(numbers)}."
        )
    return numbers[name]


def _text(path: Path, expected: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"{path} can't be read ({reason}); expected {expected}.") from error
