r"""Your own texts in DATA_DIR/train.csv and validation.csv: columns `text` and `label`.

    python launch/worker.py --dataset=datasets/csv_texts.py --data_dir=/data/reviews \
        --model=models/text_classifier.py --run_dir=runs/reviews --batch_size=64 --epochs=5 \
        --optimizer=adam

A label is the name of a class. The vocabulary is made of the training texts, once, and stays in the
saved model.
"""

import os
from typing import Any

import tensorflow as tf
from keras import layers

from tfscale.data.collection import Collection
from tfscale.data.formats import csv_table

text, label = "text", "label"  # names of the columns
most_words = 20000

num_classes = None  # those of train.csv
splits = ("train", "validation")


def statistics(data_dir: str) -> dict[str, Any]:
    """What is learned from the training texts: their most frequent words, and the classes."""
    train = os.path.join(data_dir, "train.csv")
    lookup = layers.TextVectorization(most_words)
    records = csv_table.records(train, [], {text: "string"})
    numbers = tf.data.Dataset.range(records.num_records).batch(1024)
    lookup.adapt(numbers.map(lambda own: records.read(own)[text]))
    return {
        "vocabulary": lookup.get_vocabulary(include_special_tokens=False),
        "num_classes": len(csv_table.class_names(train, label)),
    }


def load(split: str, data_dir: str) -> Collection:
    """Give the rows of one split: `{text: text, label: int64}`."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    classes = csv_table.class_names(os.path.join(data_dir, "train.csv"), label)
    path = os.path.join(data_dir, f"{split}.csv")
    columns = {text: "string", label: "string"}
    return csv_table.records(path, [], columns, class_names={label: classes})


def preprocess(record: dict[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x a text, y int64 scalar."""
    del training  # nothing is augmented
    return record[text], record[label]
