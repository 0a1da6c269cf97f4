"""Numbers from 0 on in TFRecord files, or as a stream: which examples a run has seen is counted."""

from pathlib import Path

import tensorflow as tf

from tfscale.data.formats import tfrecord

folder = ""  # with the files
is_stream = False
size = 101
task = "regression"


def load(split):
    if split != "train":
        return None
    files = sorted(map(str, Path(folder).glob("*.tfrecord")))
    if is_stream:
        read = tf.data.TFRecordDataset(files)
        return read.filter(lambda record: tf.strings.length(record) > 0)
    return tfrecord.records(files)


def preprocess(record, training):
    return tf.one_hot(tf.strings.to_number(record, tf.int32), size), tf.zeros([])


def write(path, num_files):
    """Writes so many files, all but one of different lengths."""
    path.mkdir(parents=True)
    ends = [size * (number + 1) ** 2 // num_files**2 for number in range(num_files)]
    first = 0
    for number, end in enumerate(ends):
        with tf.io.TFRecordWriter(str(path / f"{number:02d}.tfrecord")) as writer:
            for one in range(first, end):
                writer.write(str(one).encode())
        first = end
