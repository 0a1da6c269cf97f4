"""What is read: each data set's name, its size, and how one record of it becomes an example."""

from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from tfscale.structures import Structure

SIDE = 256  # of a stored picture, in pixels
BORDER = 8  # of it that is left out
SIZE = 224  # of what is made of the rest
RESNET_BYTES = 114_660  # of a record of MLPerf Storage's ResNet-50
RESNET_BATCH = 400
RESNET_SECONDS = 0.224  # of a step of it
SMALL_BYTES = 1000
SHARDS = 4
NUM_CLASSES = 8


@dataclass(frozen=True)
class Format:
    """A data set.

    Args:
        what: for the reader.
        batch: examples of a batch.
        per_example: how many records there are where another one has one.
    """

    what: str
    batch: int
    per_example: int = 1


FORMATS = {
    "tfrecord": Format("TFRecord, JPEG", 64),
    "array_record": Format("ArrayRecord, JPEG", 64),
    "image_folder": Format("folders of JPEG files", 64),
    "tfds": Format("TFDS, JPEG", 64),
    "memory": Format("in memory, pixels", 64),
    "small": Format("TFRecord, 1 kB of bytes", 256, per_example=32),
    "resnet": Format("TFRecord, 114,660 bytes", RESNET_BATCH, per_example=2),
}


@dataclass(frozen=True)
class ReadingTask:
    """One process's part; travels to it as JSON.

    Args:
        system: "ours", "bare" or "torch_loader", each a module of this package.
        folder: of the data sets.
        workers: processes that share each data set.
        index: of this one.
    """

    system: str
    folder: str
    workers: int = 1
    index: int = 0


def record_files(folder: str, name: str) -> list[str]:
    """The files of a data set of records, in their order."""
    endings = (".tfrecord", ".array_record")
    return sorted(str(path) for path in (Path(folder) / name).iterdir() if path.suffix in endings)


def picture_of(data: tf.Tensor) -> tf.Tensor:
    """Pixels of a JPEG, its border cut off, resized: uint8 (224, 224, 3)."""
    inner = tf.io.decode_jpeg(data, channels=3)[BORDER:-BORDER, BORDER:-BORDER]
    return tf.saturate_cast(tf.round(tf.image.resize(inner, [SIZE, SIZE])), tf.uint8)


def example_of(name: str, record: Structure) -> tuple[tf.Tensor, tf.Tensor]:
    """What is made of a record of a data set, the same operations in every chain of TensorFlow's.

    Args:
        name: of the data set.
        record: of a TFRecord or ArrayRecord file its bytes; `{"path", "label"}` of a folder;
            `{"image", "label"}` of TFDS.

    Returns:
        `(x, y)`: x uint8 (224, 224, 3) or (bytes,), y int64 scalar.
    """
    if name in ("small", "resnet"):
        size = SMALL_BYTES if name == "small" else RESNET_BYTES
        return tf.reshape(tf.io.decode_raw(record, tf.uint8), [size]), tf.constant(0, tf.int64)
    if name == "image_folder":
        return picture_of(tf.io.read_file(record["path"])), record["label"]
    if name != "tfds":
        wanted = {"image": tf.string, "label": tf.int64}
        features = {key: tf.io.FixedLenFeature([], dtype) for key, dtype in wanted.items()}
        record = tf.io.parse_single_example(record, features)
    return picture_of(record["image"]), record["label"]
