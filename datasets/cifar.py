r"""CIFAR-10 and CIFAR-100, 60,000 photographs of 32 x 32 pixels, through TensorFlow Datasets.

    python launch/worker.py --dataset=datasets/cifar.py --data_dir=data \
        --model=models/resnet.py --model_option=depth=18 --run_dir=runs/cifar10 \
        --batch_size=256 --epochs=30

`--dataset_option=num_classes=100` is CIFAR-100. The first run downloads 160 MiB into `--data_dir`.
A tenth of the 50,000 images for training is for validation. Source: A. Krizhevsky, "Learning
Multiple Layers of Features from Tiny Images", 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import tensorflow as tf

from tfscale.data.augment.images import random_flip, random_shift
from tfscale.data.collection import Collection
from tfscale.data.formats import tfds

train_part = "train[:90%]"
validation_part = "train[90%:]"

num_classes = 10  # or 100
task = "classification"
splits = ("train", "validation", "test")


def prepare(data_dir: str) -> None:
    """Download what isn't there yet; one worker does, the others wait."""
    tfds.prepare(_name(), data_dir)


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split: `{"image": uint8 (32, 32, 3), "label": int64, ...}`."""
    parts = {"train": train_part, "validation": validation_part, "test": "test"}
    if split not in parts:
        raise ValueError(f"CIFAR has no split {split!r}. Use one of {', '.join(splits)}.")
    return tfds.records(_name(), parts[split], data_dir)


def preprocess(
    record: dict[str, tf.Tensor], training: bool, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (32, 32, 3) in 0..1, y int64 scalar in 0..num_classes - 1.

    In training an image is moved by up to 4 pixels and half of them are mirrored.
    """
    image = record["image"]
    if training:
        image = random_flip(random_shift(image, seed, pixels=4), seed)
    return tf.cast(image, tf.float32) / 255.0, record["label"]


def _name() -> str:
    if num_classes not in (10, 100):
        raise ValueError(f"There is no CIFAR of {num_classes} classes. Use num_classes=10 or 100.")
    return f"cifar{num_classes}"
