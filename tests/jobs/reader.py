"""A worker that only reads: `python -m tests.jobs.reader {shares|memory} FOLDER [WORKER]`.

It writes one line of JSON. What it counts is what the operating system says of this process.
"""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import tensorflow as tf

from tfscale.data.formats import array_record, image_folder, text_lines, tfrecord
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.process.exit import leave

FORMATS = {
    "tfrecord": lambda folder: tfrecord.records(f"{folder}/*.tfrecord"),
    "array_record": lambda folder: array_record.records(f"{folder}/*.array_record"),
    "image_folder": lambda folder: image_folder.records(f"{folder}/images"),
    "text_lines": lambda folder: text_lines.records(f"{folder}/*.txt"),
}
BATCH, EPOCHS = 32, 8


def bytes_read():
    """What this process has asked of files so far, whether they were in memory or not.

    That is `rchar`; `read_bytes` counts only what a disk had to give, and so nothing of files that
    were written a moment ago.
    """
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text()).group(1))


def peak_bytes():
    """The most memory that this process has had."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))


def _preprocess(record, training):
    """All bytes of a record, as numbers that take four times as much memory."""
    data = tf.io.read_file(record["path"]) if isinstance(record, dict) else record
    return tf.cast(tf.io.decode_raw(data, tf.uint8), tf.float32), tf.constant(0)


def _started(load, workers, worker):
    file = read_dataset_file(
        SimpleNamespace(__name__="mine", load=lambda split: load(), preprocess=_preprocess)
    )
    sharding = Sharding(BATCH, workers, worker, 1)
    source = source_of(file, "train")
    made = training_input(file, source, sharding, tf.distribute.get_strategy(), seed=1)
    made.start()
    return made


def shares(folder, worker):
    """Bytes that one of two workers reads in some epochs, of each format."""
    found = {}
    array_record.module()  # whose own files would be counted as well
    for name in ("tfrecord", "array_record", "image_folder"):
        before = bytes_read()
        made = _started(lambda name=name: FORMATS[name](folder), 2, int(worker))
        for _ in range(EPOCHS * made.steps):
            next(made.iterator)
        found[name] = bytes_read() - before
        made.rewind()  # ends what reads ahead
    return found


def memory(folder):
    """How many bytes the process had at most, before it read and after each format."""
    found = {"before": peak_bytes()}
    for name in FORMATS:
        made = _started(lambda name=name: FORMATS[name](f"{folder}/{name}"), 1, 0)
        for _ in range(8):
            next(made.iterator)
        found[name] = peak_bytes()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"shares": shares, "memory": memory}[sys.argv[1]](*sys.argv[2:])))
    leave(0)
