r"""Your own TFRecord files of tf.train.Example: DATA_DIR/train*.tfrecord*, and validation.

    python launch/worker.py --dataset=datasets/tfrecords.py --data_dir=/data/flowers \
        --dataset_option=num_classes=5 --model=models/resnet.py --run_dir=runs/flowers \
        --batch_size=256 --epochs=90

DATA_DIR/features.json says what is in an Example; here an encoded image and its class:

    {"image": {"dtype": "string", "shape": []}, "label": {"dtype": "int64", "shape": []}}
"""

import os

import tensorflow as tf

from tfscale.data import images
from tfscale.data.collection import Collection
from tfscale.data.formats import tf_example, tfrecord

size = (224, 224)  # height and width of x

num_classes = 10
task = "classification"
splits = ("train", "validation")


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split, as features.json describes them."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    serialized = tfrecord.records(os.path.join(data_dir, f"{split}*.tfrecord*"))
    return tf_example.examples(serialized, os.path.join(data_dir, tf_example.NAME))


def preprocess(record: dict[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1, y int64 scalar."""
    del training  # nothing is augmented
    image = images.resize(images.decode(record["image"]), size)
    return tf.cast(image, tf.float32) / 255.0, record["label"]
