r"""Your own images, in folders called like their classes: DATA_DIR/train/CLASS/FILE.

    python launch/worker.py --dataset=datasets/image_folder.py --data_dir=/data/flowers \
        --model=models/resnet.py --run_dir=runs/flowers --batch_size=256 --epochs=90

DATA_DIR/validation has the same classes, and so has DATA_DIR/test, where there is one. Without
splits, as DATA_DIR/CLASS/FILE, or with DATA_DIR/train only, a fifth of the images validates with
--dataset_option=validation_fraction=0.2. JPEG, PNG, BMP and GIF may be mixed.
"""

import tensorflow as tf

from tfscale.data import images
from tfscale.data.augment.images import decode_random_resized_crop, random_flip
from tfscale.data.collection import Collection
from tfscale.data.formats import image_folder

train_folder = "train"
validation_folder = "validation"
test_folder = "test"
validation_fraction = 0.0  # of the training images, where there is no folder of validation
split_seed = 0  # which of them that are
size = (224, 224)  # height and width of x

num_classes = None  # as many as there are folders
task = "classification"
splits = ("train", "validation", "test")


def load(split: str, data_dir: str) -> Collection | None:
    """Give the records of a split, `{"path": text, "label": int64}`, or None if it isn't there."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    return image_folder.split_records(
        data_dir,
        split,
        folders={"train": train_folder, "validation": validation_folder, "test": test_folder},
        validation_fraction=validation_fraction,
        seed=split_seed,
    )


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
