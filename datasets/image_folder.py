r"""Your own images, in folders called like their classes: DATA_DIR/train/CLASS/FILE.

    python launch/worker.py --dataset=datasets/image_folder.py --data_dir=/data/flowers \
        --dataset_option=num_classes=5 --model=models/resnet.py --run_dir=runs/flowers \
        --batch_size=256 --epochs=90

DATA_DIR/validation has the same classes. JPEG, PNG, BMP and GIF may be mixed.
"""

import os

import tensorflow as tf

from tfscale.data import images
from tfscale.data.augment.images import decode_random_resized_crop, random_flip
from tfscale.data.collection import Collection
from tfscale.data.formats import image_folder

train_folder = "train"
validation_folder = "validation"
size = (224, 224)  # height and width of x

num_classes = 2
task = "classification"
splits = ("train", "validation")


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split: `{"path": text, "label": int64}`."""
    folders = {"train": train_folder, "validation": validation_folder}
    if split not in folders:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    classes = image_folder.class_names(os.path.join(data_dir, train_folder))
    if len(classes) != num_classes:
        raise ValueError(
            f"{data_dir} has {len(classes)} classes; expected num_classes = {num_classes}. "
            f"Use --dataset_option=num_classes={len(classes)}."
        )
    return image_folder.records(os.path.join(data_dir, folders[split]), classes)


def preprocess(
    record: dict[str, tf.Tensor], training: bool, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1, y int64 scalar.

    In training a random part of the image, half of them mirrored; else its middle.
    """
    data = tf.io.read_file(record["path"])
    if training:
        image = random_flip(decode_random_resized_crop(data, seed, size), seed)
    else:
        image = images.decode_middle(data, size)
    return tf.cast(image, tf.float32) / 255.0, record["label"]
