"""Images in folders that are called like their classes: `FOLDER/train/CLASS/FILE`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tfscale.data.collection import Collection
from tfscale.data.formats import held, photo_notes
from tfscale.errors import ConfigError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")  # in any case of letters

_LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")  # hidden files begin with a dot everywhere else


def class_names(folder: str) -> list[str]:
    """The classes of a split, in the order of their numbers.

    Args:
        folder: of one split; the folders in it are its classes.

    Raises:
        ConfigError: there is no such folder, or none in it.
    """
    names = sorted(entry.name for entry in _entries(folder) if entry.is_dir())
    if not names:
        raise ConfigError(
            f"{folder} has no folders; expected one for each class, with its images in it."
        )
    return names


def split_records(
    data_dir: str,
    split: str,
    *,
    folders: Mapping[str, str] | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
) -> Collection | None:
    """The images of a split, however the folders lie.

    There is a folder for each split, with its classes in it, or the classes lie in `data_dir`
    itself. Where there is none for "validation", a part of the training images may be it.

    Args:
        data_dir: where all of it is.
        split: "train", or another one.
        folders: of each split that isn't called like it.
        validation_fraction: of the training images, 0 to 1, where "validation" has no folder.
        seed: which of them that are; the machine decides nothing.

    Returns:
        As of `records`; None for a split that isn't there.

    Raises:
        ConfigError: as of `records`, or both a folder and a fraction stand for "validation".
    """
    named = {"train": "train", "validation": "validation", **(folders or {})}
    places = {name: os.path.join(data_dir, folder) for name, folder in named.items()}
    there = {name: place for name, place in places.items() if os.path.isdir(place)}
    if "train" not in there:
        _require_no_split(data_dir, named, there)
        there = {"train": data_dir}
    classes = class_names(there["train"])
    if validation_fraction and "validation" in there:
        raise ConfigError(
            f"{there['validation']} is there, and validation_fraction = {validation_fraction}; "
            "expected one of them. Leave validation_fraction out, or move the folder elsewhere."
        )
    if split in there and not (split == "train" and validation_fraction):
        return records(there[split], classes)
    if split in ("train", "validation") and validation_fraction:
        training, validation = records(there["train"], classes).split(
            validation_fraction, seed=seed
        )
        return training if split == "train" else validation
    return None


def _require_no_split(data_dir: str, named: Mapping[str, str], there: Mapping[str, str]) -> None:
    """Refuses to take a folder of another split for a class."""
    usual = {"train", "training", "val", "valid", "validation", "test", "testing"}
    found = sorted(entry.name for entry in _entries(data_dir) if entry.name.lower() in usual)
    if there or found:
        raise ConfigError(
            f"{data_dir} has {_shown(found or list(there))}, and no folder "
            f"{named['train']!r}; expected a folder for each split, or the folders of the classes. "
            "Name those of the splits, for example --dataset_option=train_folder=training."
        )


def records(
    folder: str,
    classes: Sequence[str] | None = None,
    *,
    extensions: Sequence[str] = EXTENSIONS,
) -> Collection:
    """The images of one split, class by class, each class in the order of its files' names.

    Hidden files and folders are passed over; everything else that is no image is refused, as is a
    class without images: nothing of a data set is left out in silence.

    Args:
        folder: of the split.
        classes: that the split has to have, in the order of their numbers: those of "train", for
            every split. None takes those of the folder itself.
        extensions: what an image's name ends with, in lower case.

    Returns:
        Records `{"path": text, "label": int64 scalar}`.

    Raises:
        ConfigError: the folder doesn't have exactly these classes, one is empty, or something in it
            is no image.
    """
    found = class_names(folder)
    expected = list(found if classes is None else classes)
    _require_classes(folder, found, expected)
    endings = tuple(ending.lower() for ending in extensions)
    _require_no_image_outside(folder, endings)
    paths: list[str] = []
    counts = []
    for name in expected:
        files = _images(os.path.join(folder, name), endings)
        counts.append(len(files))
        paths += [f"{name}/{file}" for file in files]
    labels = np.repeat(np.arange(len(expected), dtype=np.int64), counts)
    listed = held.collection(
        folder,
        {"path": held.texts(paths), "label": labels},
        place_of=lambda number: os.path.join(folder, paths[number]),
    )
    note = photo_notes.of_first(folder, paths)
    return replace(held.below(listed, "path", folder), classes=tuple(expected), note=note)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not _is_passed_over(entry.name)]
    except OSError as error:
        raise ConfigError(
            f"{folder} can't be read ({error.strerror}); expected a folder with a folder of images "
            "for each class, such as train/cat/1.jpg and train/dog/1.jpg."
        ) from error


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def _images(folder: str, endings: tuple[str, ...]) -> list[str]:
    names = []
    for entry in _entries(folder):
        if not entry.name.lower().endswith(endings) or entry.is_dir():
            raise ConfigError(
                f"{entry.path} is no image by its name; expected only files that end with "
                f"{', '.join(endings)} in the folder of a class. Move it elsewhere."
            )
        names.append(entry.name)
    if not names:
        raise ConfigError(
            f"{folder} holds no images; expected at least one of each class. Remove the class from "
            "every split, or add images."
        )
    return sorted(names)


def _require_no_image_outside(folder: str, endings: tuple[str, ...]) -> None:
    """A list or a README beside the classes does no harm; an image there would be lost."""
    for entry in _entries(folder):
        if entry.name.lower().endswith(endings) and not entry.is_dir():
            raise ConfigError(
                f"{entry.path} belongs to no class; expected images in folders of their classes."
            )


def _require_classes(folder: str, found: Sequence[str], expected: Sequence[str]) -> None:
    unknown = sorted(set(found) - set(expected))
    missing = sorted(set(expected) - set(found))
    if unknown or missing:
        raise ConfigError(
            f"{folder} has not the classes of training: it lacks {_shown(missing)} and has "
            f"{_shown(unknown)} besides; expected exactly the same folders."
        )


def _shown(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name) for name in names[:3]) + more
