r"""COCO 2017, 118,000 photographs with objects of 80 classes, through TensorFlow Datasets.

    python launch/worker.py --dataset=datasets/coco.py --data_dir=/data --model=models/detector.py \
        --run_dir=runs/coco --batch_size=128 --epochs=24

The first run downloads 25 GiB into `--data_dir`. The same from the official archives: coco_json.py.
Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014,
https://arxiv.org/abs/1405.0312.
"""

import tensorflow as tf

from tfscale.data import images
from tfscale.data.collection import Collection
from tfscale.data.formats import boxes, tfds

size = (320, 320)  # height and width of x
max_boxes = 100

num_classes = 80
task = "detection"
splits = ("train", "validation")


def prepare(data_dir: str) -> None:
    """Download what isn't there yet; one worker does, the others wait."""
    tfds.prepare("coco/2017", data_dir)


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split, as TensorFlow Datasets describes them; images are bytes."""
    if split not in splits:
        raise ValueError(f"COCO has no split {split!r}. Use one of {', '.join(splits)}.")
    return tfds.records("coco/2017", split, data_dir, decode_images=False)


def preprocess(
    record: dict[str, tf.Tensor], training: bool
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1.

    y is `{"boxes": float32 (max_boxes, 4) y_min, x_min, y_max, x_max in 0..1, "classes": int64
    (max_boxes,), -1 where there is no box, "crowd": bool (max_boxes,), "size": height and width of
    the photograph}`.
    """
    del training  # nothing is augmented
    image, objects = images.decode(record["image"]), record["objects"]
    return tf.cast(images.resize(image, size), tf.float32) / 255.0, {
        "boxes": boxes.fill_up(objects["bbox"], max_boxes, 0.0),
        "classes": boxes.fill_up(objects["label"], max_boxes, boxes.FILL_CLASS),
        "crowd": boxes.fill_up(objects["is_crowd"], max_boxes, False),
        "size": tf.shape(image)[:2],
    }
