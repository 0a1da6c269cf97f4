r"""PASCAL VOC, photographs with objects of 20 classes, through TensorFlow Datasets.

    python launch/worker.py --dataset=datasets/voc.py --data_dir=data --model=models/detector.py \
        --run_dir=runs/voc --batch_size=64 --epochs=40

`--dataset_option=task=multilabel` asks only which classes are there, and takes models of the other
tasks. `--dataset_option=year=2012` is the larger one, whose test split has no labels. The first run
downloads 0.9 GiB (2012: 3.6 GiB). The same from the official archives: voc_devkit.py.
Source: M. Everingham et al., http://host.robots.ox.ac.uk/pascal/VOC/.
"""

import tensorflow as tf

from tfscale.data import images
from tfscale.data.collection import Collection
from tfscale.data.formats import boxes, tfds

year = "2007"
size = (224, 224)  # height and width of x
max_boxes = 64

num_classes = 20
task = "detection"
splits = ("train", "validation", "test")


def prepare(data_dir: str) -> None:
    """Download what isn't there yet; one worker does, the others wait."""
    tfds.prepare(f"voc/{year}", data_dir)


def load(split: str, data_dir: str) -> Collection | None:
    """Give the records of one split, as TensorFlow Datasets describes them; images are bytes."""
    if split not in splits:
        raise ValueError(f"VOC has no split {split!r}. Use one of {', '.join(splits)}.")
    if split == "test" and year != "2007":
        return None  # what there is has no labels
    return tfds.records(f"voc/{year}", split, data_dir, decode_images=False)


def preprocess(
    record: dict[str, tf.Tensor], training: bool
) -> tuple[tf.Tensor, tf.Tensor | dict[str, tf.Tensor]]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1.

    Of multilabel, y is float32 (20,), 1 for each class that is there. Of detection, y is
    `{"boxes": float32 (max_boxes, 4) y_min, x_min, y_max, x_max in 0..1, "classes": int64, -1 where
    there is no box, "difficult": bool, "size": height and width of the photograph}`.
    """
    del training  # nothing is augmented
    image = images.decode(record["image"])
    x = tf.cast(images.resize(image, size), tf.float32) / 255.0
    if task == "multilabel":
        there = tf.one_hot(record["labels"], num_classes)
        return x, tf.minimum(tf.reduce_sum(there, axis=0), 1.0)
    objects = record["objects"]
    return x, {
        "boxes": boxes.fill_up(objects["bbox"], max_boxes, 0.0),
        "classes": boxes.fill_up(objects["label"], max_boxes, boxes.FILL_CLASS),
        "difficult": boxes.fill_up(objects["is_difficult"], max_boxes, False),
        "size": tf.shape(image)[:2],
    }
