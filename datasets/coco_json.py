r"""COCO from its official archives, unpacked: DATA_DIR/annotations, DATA_DIR/train2017, val2017.

    python launch/worker.py --dataset=datasets/coco_json.py --data_dir=/data/coco \
        --model=models/detector.py --run_dir=runs/coco --batch_size=128 --epochs=24

Data of your own in the same layout, of which there are many: set `train`, `validation` and
`num_classes`. Source: T.-Y. Lin et al., 2014, https://arxiv.org/abs/1405.0312.
"""

import tensorflow as tf

from tfscale.data import images
from tfscale.data.collection import Collection
from tfscale.data.formats import coco

train = "train2017"
validation = "val2017"
size = (320, 320)  # height and width of x
max_boxes = 100

num_classes = 80
task = "detection"
splits = ("train", "validation")


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split: path, boxes, classes, crowd, areas, size, image_id."""
    names = {"train": train, "validation": validation}
    if split not in names:
        raise ValueError(f"COCO has no split {split!r}. Use one of {', '.join(splits)}.")
    classes = coco.class_names(data_dir, train)
    if len(classes) != num_classes:
        raise ValueError(
            f"{data_dir} has {len(classes)} classes; expected num_classes = {num_classes}. "
            f"Use --dataset_option=num_classes={len(classes)}."
        )
    return coco.records(data_dir, names[split], classes, max_boxes=max_boxes)


def preprocess(
    record: dict[str, tf.Tensor], training: bool
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1, y as in coco.py."""
    del training  # nothing is augmented
    image = images.decode(tf.io.read_file(record["path"]))
    image = images.require_size(image, record["size"])
    y = {key: record[key] for key in ("boxes", "classes", "crowd", "size")}
    return tf.cast(images.resize(image, size), tf.float32) / 255.0, y
