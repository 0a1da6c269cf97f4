r"""Your own TFRecord or ArrayRecord files of tf.train.Example, which their names tell apart.

    python launch/worker.py --dataset=datasets/record_files.py --data_dir=/data/flowers \
        --dataset_option=num_classes=5 --model=models/resnet.py --run_dir=runs/flowers \
        --batch_size=256 --epochs=90

They are DATA_DIR/train*.tfrecord* or train*.array_record*, and the same for validation.
DATA_DIR/features.json says what is in an Example; here an encoded image and its class:

    {"image": {"dtype": "string", "shape": []}, "label": {"dtype": "int64", "shape": []}}
"""

import os
from glob import glob

import tensorflow as tf

from tfscale.data import images
from tfscale.data.collection import Collection
from tfscale.data.formats import array_record, tf_example, tfrecord
from tfscale.data.formats.listing import in_real_folder

size = (224, 224)  # height and width of x

num_classes = 10
task = "classification"
splits = ("train", "validation")

_READERS = {".tfrecord": tfrecord.records, ".array_record": array_record.records}


def load(split: str, data_dir: str) -> Collection:
    """Give the records of one split, as features.json describes them."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    folder = os.path.expanduser(data_dir)
    patterns = {kind: in_real_folder(os.path.join(folder, f"{split}*{kind}*")) for kind in _READERS}
    found = {kind: sorted(map(os.path.basename, glob(patterns[kind]))) for kind in _READERS}
    kinds = [kind for kind in found if found[kind]]
    if len(kinds) != 1:
        came = " and ".join(found[kind][0] for kind in kinds) or "neither"
        raise ValueError(
            f"{folder} has {came} of {split}*.tfrecord* and {split}*.array_record*; expected files "
            "of one kind. Check --data_dir, and keep two kinds in folders of their own."
        )
    serialized = _READERS[kinds[0]](patterns[kinds[0]])
    return tf_example.examples(serialized, os.path.join(folder, tf_example.NAME))


def preprocess(record: dict[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1, y int64 scalar."""
    del training  # nothing is augmented
    image = images.resize(images.decode(record["image"]), size)
    return tf.cast(image, tf.float32) / 255.0, record["label"]
