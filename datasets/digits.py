r"""1797 handwritten digits, grey images of 8 x 8 pixels, in the file beside this one: no download.

The smallest real data set there is for a first run on any machine:

    python launch/local.py --workers=2 -- --dataset=datasets/digits.py \
        --model=models/small_cnn.py --run_dir=runs/demo --batch_size=64 --epochs=15 \
        --optimizer=adamw --learning_rate=0.0025 --overwrite

Expected time and accuracy of this command: see README.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0. It is the part that
scikit-learn has, which isn't asked for it: where scikit-learn is installed, Keras imports it, and
every worker would start half a second later.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

num_classes = 10
task = "classification"
splits = ("train", "validation", "test")

_FILE = Path(__file__).with_suffix(".npz")  # images uint8 (1797, 8, 8), labels uint8 (1797,)
_TRAIN_END = 1257
_VALIDATION_END = _TRAIN_END + 180  # the 360 after it are the test split


def load(split: str) -> tf.data.Dataset:
    """Give the records of one split, in the same order on every worker and in every run.

    Args:
        split: "train" (1257 records), "validation" (180) or "test" (360).

    Returns:
        Records `{"image": uint8 (8, 8) in 0..16, "label": int64 scalar in 0..9}`.
    """
    ranges = {
        "train": slice(0, _TRAIN_END),
        "validation": slice(_TRAIN_END, _VALIDATION_END),
        "test": slice(_VALIDATION_END, None),
    }
    if split not in ranges:
        raise ValueError(f"The digits have no split {split!r}. Use one of {', '.join(splits)}.")
    with np.load(_FILE) as file:
        images, labels = file["images"], file["labels"].astype(np.int64)
    # The source is ordered by writer; without the permutation the splits would hold different ones.
    chosen = np.random.default_rng(0).permutation(len(labels))[ranges[split]]
    return tf.data.Dataset.from_tensor_slices({"image": images[chosen], "label": labels[chosen]})


def preprocess(record: dict[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Turn one record into `(x, y)`: x float32 (8, 8, 1) in 0..1, y int64 scalar."""
    del training  # the same for both: these images gain nothing from augmentation
    x = tf.cast(record["image"], tf.float32)[..., tf.newaxis] / 16.0
    return x, record["label"]
