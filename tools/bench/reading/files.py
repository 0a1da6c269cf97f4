"""Writes the data sets, each once: pictures that are rendered, and records of bytes."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfscale.data.formats import record_index
from tfscale.data.formats.record_index import FRAME_BYTES, RecordIndex, masked_crc32c
from tfscale.structures import Foreign
from tools.bench.reading.formats import (
    FORMATS,
    NUM_CLASSES,
    RESNET_BYTES,
    SHARDS,
    SIDE,
    SIZE,
    SMALL_BYTES,
)
from tools.prepare import shard_writers

TFDS_NAME = "rendered_pictures"
NUMBERS = "numbers.tfrecord"
_RENDERED = 256  # pictures that differ; more records repeat them
_WRITERS = {"array_record": shard_writers.write_array_record}


def write(folder: Path, examples: int, names: Iterable[str], say: Callable[[str], None]) -> None:
    """Writes the data sets that aren't there yet.

    Args:
        folder: for them; each is a folder in it, which is there whole or not at all.
        examples: pictures of each; the others have a multiple of it.
        names: of the data sets.
        say: gets a line for each that is written.

    Raises:
        OSError: there is no room, or no permission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name == "memory" or (folder / name).is_dir():
            continue
        count = examples * FORMATS[name].per_example
        say(f"writing {count:,} records of {FORMATS[name].what}")
        partial = folder / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        if name == "image_folder":
            _write_folders(partial, count)
        elif name == "tfds":
            _write_tfds(partial, count)
        else:
            _write_shards(partial, name, count)
        partial.rename(folder / name)


def write_numbers(path: Path, count: int) -> None:
    """Writes a TFRecord file of the numbers from 0 as 8 bytes each, with its index, fast.

    Args:
        path: of the file.
        count: how many.
    """
    layout = [("length", "<u8"), ("length_crc", "<u4"), ("data", "<i8"), ("data_crc", "<u4")]
    framed = np.zeros(count, np.dtype(layout))
    framed["length"] = 8
    framed["length_crc"] = masked_crc32c((8).to_bytes(8, "little"))
    framed["data"] = np.arange(count)
    texts = framed["data"].tobytes()
    framed["data_crc"] = [masked_crc32c(texts[at : at + 8]) for at in range(0, len(texts), 8)]
    path.parent.mkdir(parents=True, exist_ok=True)
    framed.tofile(path)
    sizes = np.full(count, 8 + FRAME_BYTES, np.int64)
    index = RecordIndex(np.cumsum(sizes) - sizes, sizes)
    record_index.write(record_index.index_path(str(path)), index)


def in_memory(folder: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels that need no decoding, of as many examples as the folder's name ends with.

    Returns:
        uint8 (n, 224, 224, 3), and int64 (n,).
    """
    count = min(512, int(folder.rpartition("-")[2]))
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    return pictures, np.arange(count) % NUM_CLASSES


def pictures() -> list[bytes]:
    """Rendered pictures as JPEG, about as large as a photograph of their size."""
    return [_jpeg(number) for number in range(_RENDERED)]


def _jpeg(number: int) -> bytes:
    from PIL import Image

    random = np.random.default_rng(number)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = [
        np.sin(2 * np.pi * (random.uniform(1, 8) * x + random.uniform(1, 8) * y)) for _ in range(3)
    ]
    noise = random.normal(0, 8, (SIDE, SIDE, 3))
    pixels = np.clip(128 + 90 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def _records(name: str, count: int) -> Iterator[bytes]:
    if name in ("small", "resnet"):
        size = SMALL_BYTES if name == "small" else RESNET_BYTES
        for number in range(count):
            yield np.random.default_rng(number).bytes(size)
        return
    rendered = pictures()
    for number in range(count):
        image = tf.train.BytesList(value=[rendered[number % _RENDERED]])
        label = tf.train.Int64List(value=[number % NUM_CLASSES])
        features: Mapping[str, Foreign] = {
            "image": tf.train.Feature(bytes_list=image),
            "label": tf.train.Feature(int64_list=label),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        yield example.SerializeToString()


def _write_shards(folder: Path, name: str, count: int) -> None:
    ending = "array_record" if name == "array_record" else "tfrecord"
    records = _records(name, count)
    write_one = _WRITERS.get(name, shard_writers.write_tfrecord)
    edges = [count * shard // SHARDS for shard in range(SHARDS + 1)]
    for shard, (first, end) in enumerate(zip(edges, edges[1:], strict=False)):
        own = (next(records) for _ in range(end - first))
        write_one(folder / f"train-{shard}.{ending}", own)


def _write_folders(folder: Path, count: int) -> None:
    rendered = pictures()
    for label in range(min(NUM_CLASSES, count)):
        (folder / "train" / f"class_{label}").mkdir(parents=True)
    for number in range(count):
        path = folder / "train" / f"class_{number % NUM_CLASSES}" / f"{number:06}.jpg"
        path.write_bytes(rendered[number % _RENDERED])


def _write_tfds(folder: Path, count: int) -> None:
    """What TensorFlow Datasets writes of a data set of its own."""
    import tensorflow_datasets as library

    features: dict[str, Any] = {
        "image": library.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "label": library.features.ClassLabel(num_classes=NUM_CLASSES),
    }
    rendered = pictures()

    class RenderedPictures(library.core.GeneratorBasedBuilder):
        VERSION = library.core.Version("1.0.0")

        def _info(self) -> Foreign:
            described = library.features.FeaturesDict(features)
            return library.core.DatasetInfo(builder=self, features=described)

        def _split_generators(self, manager: Foreign) -> dict[str, Foreign]:
            del manager
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Foreign]]]:
            for number in range(count):
                image = BytesIO(rendered[number % _RENDERED])
                yield number, {"image": image, "label": number % NUM_CLASSES}

    library.disable_progress_bar()
    builder = RenderedPictures(data_dir=os.fspath(folder))
    config = library.download.DownloadConfig(num_shards=SHARDS)
    builder.download_and_prepare(file_format="tfrecord", download_config=config)
