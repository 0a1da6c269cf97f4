"""Data sets of TensorFlow Datasets, read from the files that it writes: no network, any order.

Its own reader gives a stream. Here its record files are reached by number, so that a run has one
global order and an exact position, and its features make tensors of each record where it is needed.

What it writes: https://www.tensorflow.org/datasets/external_tfrecord.
"""

import os
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfscale.data.collection import Collection, StoredFile
from tfscale.data.formats import array_record, tfrecord
from tfscale.errors import ConfigError, one_line
from tfscale.files.once import once
from tfscale.structures import Foreign, Structure

FILE_FORMATS = ("array_record", "tfrecord")


def prepare(
    name: str,
    data_dir: str,
    *,
    file_format: str = "array_record",
    manual_dir: str | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Downloads a data set and writes its record files, if they aren't there.

    Of all processes that call it at once, on one file system, one works and the others wait.

    Args:
        name: as `tfds.builder` takes it: "mnist", "voc/2007", "my_own:1.0.0".
        data_dir: where data sets are kept.
        file_format: of new files, "array_record" or "tfrecord".
        manual_dir: where archives lie that have to be downloaded by hand, such as ImageNet's; None
            stands for `data_dir/downloads/manual`.
        say: gets a line now and then while another process works.

    Raises:
        ConfigError: there is no such data set, or no such format.
    """
    if file_format not in FILE_FORMATS:
        raise ConfigError(
            f"file_format is {file_format!r}; expected one of {', '.join(FILE_FORMATS)}."
        )
    data_dir = os.path.expanduser(data_dir)
    library = _library()

    def work() -> None:
        library.disable_progress_bar()  # several workers share a terminal
        builder = library.builder(name, data_dir=data_dir, file_format=file_format)
        settings = library.download.DownloadConfig(manual_dir=manual_dir)
        builder.download_and_prepare(download_config=settings)

    def is_done() -> bool:
        return _found(name, data_dir) is not None

    try:
        once(Path(data_dir), re.sub(r"\W", "-", f"tfds-{name}"), work, say=say, is_done=is_done)
    except library.core.DatasetNotFoundError as error:
        raise ConfigError(
            f"There is no data set {name!r} ({one_line(error)}); expected a name of "
            "TensorFlow Datasets, such as 'mnist' or 'voc/2007'."
        ) from error


def records(name: str, split: str, data_dir: str, *, decode_images: bool = True) -> Collection:
    """The records of a split, in the order of its files.

    Args:
        name: as for `prepare`.
        split: as TensorFlow Datasets writes it, slices and sums of them too: "train",
            "train[:80%]", "train[:100]+test".
        data_dir: where `prepare`, or TensorFlow Datasets itself, wrote the data set.
        decode_images: False leaves every image the bytes of its file, a scalar text that
            `preprocess` decodes, so that it can decode less than all of it.

    Returns:
        Records as the data set's features describe them.

    Raises:
        ConfigError: the data set or the split isn't there, a file is missing or has another number
            of records than was written, or the files are of another format.
    """
    data_dir = os.path.expanduser(data_dir)
    builder = _found(name, data_dir)
    if builder is None:
        raise ConfigError(
            f"There is no data set {name!r} in {data_dir}; expected what TensorFlow Datasets "
            f"writes, for example {os.path.join(data_dir, name)}/1.0.0/dataset_info.json. Prepare "
            "it on a machine with a network, and give its folder by --data_dir."
        )
    parts = _parts(builder, name, split)
    serialized = _selected(_stored(builder, name, [part.filename for part in parts]), parts)
    features = builder.info.features
    decoders = None if decode_images else _without_images(features)

    @tf.autograph.experimental.do_not_convert  # nothing of it is the user's
    def deserialized(record: tf.Tensor) -> Structure:
        return features.deserialize_example(record, decoders=decoders)

    return serialized.map(deserialized)


def _library() -> Foreign:
    """TensorFlow Datasets, which only who uses it needs to have."""
    try:
        import importlib_resources  # noqa: F401 - it imports this only when a data set is looked up
        import tensorflow_datasets
    except ImportError as error:
        raise ConfigError(
            f"TensorFlow Datasets can't be used ({error}); expected its packages. Install them: "
            "pip install tensorflow-datasets importlib_resources."
        ) from error
    return tensorflow_datasets


def _found(name: str, data_dir: str) -> Foreign | None:
    """The data set as it lies on disk, its newest version, whatever code there is; or None."""
    library = _library()
    try:
        return library.core.read_only_builder.builder_from_files(name, data_dir=data_dir)
    except library.core.DatasetNotFoundError:
        return None


def _parts(builder: Foreign, name: str, split: str) -> list[Foreign]:
    """Which records of which files: objects with `filename`, `skip`, `take`."""
    splits = builder.info.splits
    try:
        found = list(splits[split].file_instructions)
    except (KeyError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{name} has no split {split!r} ({one_line(error)}); expected one of "
            f"{', '.join(splits)}, or a part such as 'train[:80%]'."
        ) from error
    if not found:
        raise ConfigError(f"{name}, split {split!r}, has no records; expected at least one.")
    return found


def _stored(builder: Foreign, name: str, files: list[str]) -> Collection:
    """All records of some files, as they were written; a file may be there twice."""
    paths = list(dict.fromkeys(map(str, files)))
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise ConfigError(
            f"{missing[0]} is missing; expected all files of {name} beside its dataset_info.json. "
            "Copy it, or remove the folder and prepare the data set again."
        )
    kind = str(builder.info.file_format.value)
    readers = {"array_record": array_record.records, "tfrecord": tfrecord.records}
    if kind not in readers:
        raise ConfigError(
            f"{name} was written as {kind}; expected one of {', '.join(FILE_FORMATS)}. Prepare it "
            "again in another folder."
        )
    return readers[kind](paths)


def _selected(stored: Collection, parts: list[Foreign]) -> Collection:
    """The records of some parts of files, one part after the other."""
    firsts = dict(_firsts(stored.files))
    counts = {file.path: file.num_records for file in stored.files}
    for part in parts:
        found, written = counts[str(part.filename)], part.examples_in_shard
        if found != written:
            raise ConfigError(
                f"{part.filename} has {found} records; expected {written}, as its "
                "dataset_info.json says. Copy it again."
            )
    takes = np.array([part.take for part in parts], np.int64)
    ends = np.cumsum(takes)
    begins = np.array([firsts[str(part.filename)] + part.skip for part in parts], np.int64)
    shifts = begins - (ends - takes)

    def read(numbers: tf.Tensor) -> Structure:
        part = tf.searchsorted(tf.constant(ends), numbers, side="right")
        return stored.read(numbers + tf.gather(tf.constant(shifts), part))

    def place_of(number: int) -> str:
        part = int(np.searchsorted(ends, number, side="right"))
        return stored.place_of(number + int(shifts[part])) if stored.place_of else ""

    chosen = np.stack([begins, takes])
    return replace(
        stored,
        num_records=int(ends[-1]),
        read=read,
        checksum=zlib.crc32(chosen.tobytes(), stored.checksum),
        place_of=place_of if stored.place_of else None,
    )


def _firsts(files: tuple[StoredFile, ...]) -> list[tuple[str, int]]:
    """Path of each file and the number of its first record."""
    counts = [0, *(file.num_records for file in files)]
    return [
        (file.path, int(first)) for file, first in zip(files, np.cumsum(counts)[:-1], strict=True)
    ]


def _without_images(features: Foreign) -> dict[str, Any]:
    """Decoders that leave images as they are, in the structure of the features."""
    library = _library()
    return {
        key: library.decode.SkipDecoding()
        for key, feature in features.items()
        if isinstance(feature, library.features.Image)
    }
