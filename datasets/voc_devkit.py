r"""PASCAL VOC from its official archives, unpacked: DATA_DIR/VOC2007, DATA_DIR/VOC2012.

    python launch/worker.py --dataset=datasets/voc_devkit.py --data_dir=/data/VOCdevkit \
        --model=models/detector.py --run_dir=runs/voc --batch_size=64 --epochs=40

`--dataset_option=task=multilabel` asks only which classes are there, and takes models of the other
tasks. Data of your own in the same layout: put its classes into `_CLASSES`.
Source: M. Everingham et al., http://host.robots.ox.ac.uk/pascal/VOC/.
"""

import os

import tensorflow as tf

from tfscale.data import images
from tfscale.data.collection import Collection
from tfscale.data.formats import voc

folder = "VOC2007"
size = (224, 224)  # height and width of x
max_boxes = 64

num_classes = 20
task = "detection"
splits = ("train", "validation")

_CLASSES = voc.CLASSES


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split: path, boxes, classes, labels, difficult, size, image_id."""
    lists = {"train": "train", "validation": "val", "test": "test"}
    if split not in lists:
        raise ValueError(f"VOC has no split {split!r}. Use one of {', '.join(splits)}.")
    year = os.path.join(data_dir, folder)
    return voc.records(year, lists[split], max_boxes=max_boxes, classes=_CLASSES)


def preprocess(
    record: dict[str, tf.Tensor], training: bool
) -> tuple[tf.Tensor, tf.Tensor | dict[str, tf.Tensor]]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1, y as in voc.py."""
    del training  # nothing is augmented
    image = images.decode(tf.io.read_file(record["path"]))
    image = images.require_size(image, record["size"])
    x = tf.cast(images.resize(image, size), tf.float32) / 255.0
    if task == "multilabel":
        return x, record["labels"]
    return x, {key: record[key] for key in ("boxes", "classes", "difficult", "size")}
