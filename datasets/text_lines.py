r"""Your own texts, one a line after the number of its class and a tab: DATA_DIR/train*.txt.

    python launch/worker.py --dataset=datasets/text_lines.py --data_dir=/data/reviews \
        --dataset_option=num_classes=2 --model=models/mlp.py --run_dir=runs/reviews \
        --batch_size=256 --epochs=5

DATA_DIR/validation*.txt is for validation. A model sees how often each word is there, by the hash
of the word: no vocabulary has to be made first, and any network takes it.
"""

import os

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import text_lines

vocabulary = 4096  # places for words; some share one

num_classes = 2
task = "classification"
splits = ("train", "validation")


def load(split: str, data_dir: str) -> Collection:
    """Give the lines of one split, scalar texts."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    return text_lines.records(os.path.join(data_dir, f"{split}*.txt"))


def preprocess(record: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (vocabulary,), log(1 + count) of each word, y int64 scalar."""
    del training  # nothing is augmented
    fields = tf.strings.split(record, "\t", maxsplit=1)
    words = tf.strings.split(tf.strings.lower(fields[1], encoding="utf-8"))
    places = tf.strings.to_hash_bucket_fast(words, vocabulary)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(places), places, vocabulary)
    x = tf.math.log1p(tf.cast(counts, tf.float32))
    return x, tf.strings.to_number(fields[0], tf.int64)
