r"""MNIST, 70,000 handwritten digits of 28 x 28 grey pixels, through TensorFlow Datasets.

    python launch/worker.py --dataset=datasets/mnist.py --data_dir=data \
        --model=models/small_cnn.py --run_dir=runs/mnist --batch_size=256 --epochs=5 \
        --optimizer=adamw

The first run downloads 11 MiB into `--data_dir`. A tenth of the 60,000 images for training is for
validation. Source: Y. LeCun, C. Cortes and C. Burges, http://yann.lecun.com/exdb/mnist/.
"""

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import tfds

train_part = "train[:90%]"
validation_part = "train[90%:]"

num_classes = 10
task = "classification"
splits = ("train", "validation", "test")


def prepare(data_dir: str) -> None:
    """Download what isn't there yet; one worker does, the others wait."""
    tfds.prepare("mnist", data_dir)


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split: `{"image": uint8 (28, 28, 1), "label": int64 in 0..9}`."""
    parts = {"train": train_part, "validation": validation_part, "test": "test"}
    if split not in parts:
        raise ValueError(f"MNIST has no split {split!r}. Use one of {', '.join(splits)}.")
    return tfds.records("mnist", parts[split], data_dir)


def preprocess(record: dict[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (28, 28, 1) in 0..1, y int64 scalar."""
    del training  # nothing is augmented: a mirrored digit is none, and --cache takes this file
    return tf.cast(record["image"], tf.float32) / 255.0, record["label"]
