"""Many trainings in one process, as in a notebook: python -m tests.jobs.one_process SCENE OUT ...

Each scene writes what it saw as JSON.
"""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil

import tfscale

FOLDS = 6


def _arrays(size):
    random = np.random.default_rng(0)
    return random.normal(size=(size, 6, 6, 1)).astype("float32"), random.integers(0, 4, size)


def _data(**attributes):
    """A dataset object with a preprocess, so that every input has threads of its own."""

    def load(split):
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(_arrays({"train": 128}.get(split, 40)))

    def preprocess(record, training):
        return record[0] * 2.0, record[1]

    splits = ("train", "validation", "test")
    return SimpleNamespace(
        **{"load": load, "preprocess": preprocess, "splits": splits, "num_classes": 4} | attributes
    )


def _build(spec, num_classes):
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(spec.shape),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(num_classes),
        ]
    )


class _Notebook:
    """Trains again and again into folders of its own, and notes what is refused."""

    def __init__(self, out, cluster=None):
        self.out, self.cluster, self.count = out, cluster or tfscale.Cluster(), 0

    def train(self, data=None, build=_build, cluster=None, **settings):
        self.count += 1
        run_dir = str(self.out / str(self.count))
        config = tfscale.Config(**{"run_dir": run_dir, "batch_size": 32, **settings})
        report = tfscale.train(config, cluster or self.cluster, data or _data(), build)
        return report["metrics"]["loss"]

    def refusal(self, **settings):
        try:
            self.train(**settings)
        except tfscale.ConfigError as error:
            return str(error)
        return "none"

    def folds(self, count=FOLDS, **settings):
        """Threads, watches of other workers and memory in MiB after each training."""
        seen = []
        for _ in range(count):
            self.train(**settings)
            watches = [thread for thread in threading.enumerate() if "watch" in thread.name]
            process = psutil.Process()
            memory = process.memory_info().rss / 2**20
            seen.append((process.num_threads(), len(watches), memory))
        return seen


def after_other_work(out):
    """One worker in a process in which TensorFlow and Keras have been at work."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    book, seen = _Notebook(out), {}
    before = _build(tf.TensorSpec([6, 6, 1]), 4)
    seen["trained"] = book.train()
    seen["again"] = book.train()
    in_thread = threading.Thread(target=lambda: seen.update(in_thread=book.train()))
    in_thread.start()
    in_thread.join()
    seen["logical devices"] = book.refusal(devices=2)
    seen["several workers"] = book.refusal(
        cluster=tfscale.Cluster(("127.0.0.1:1", "127.0.0.1:2")), start_timeout=60.0
    )
    seen["model of before"] = book.refusal(build=lambda spec: before)
    kept = []

    def build(spec, num_classes):
        kept[:] = kept or [_build(spec, num_classes)]
        return kept[0]

    book.train(build=build)
    seen["model twice"] = book.refusal(build=build)
    seen["predicted"] = list(kept[0].predict(_arrays(5)[0], verbose=0).shape)

    def train_within(epoch, logs):
        seen["at the same time"] = book.refusal()

    nested = SimpleNamespace(
        build=_build, callbacks=lambda: [keras.callbacks.LambdaCallback(on_epoch_end=train_within)]
    )
    book.train(build=nested)
    book.train(precision="mixed_bfloat16")
    book.train(precision="float64")
    seen["precision"] = [keras.config.floatx(), keras.config.dtype_policy().name]
    user_file = out / "model_of_a_user.py"
    user_file.write_text("from tests.jobs.one_process import _build as build\n")
    book.train(build=str(user_file))
    seen["modules"] = [name for name in sys.modules if "model_of_a_user" in name]
    return seen


def workers_after_other_work(out):
    """A worker of several whose process has made a tensor before."""
    import tensorflow as tf

    tf.constant(1.0)
    cluster = tfscale.Cluster(("127.0.0.1:1", "127.0.0.1:2"))
    return {"refused": _Notebook(out, cluster).refusal(start_timeout=60.0)}


def folds(out, devices):
    """Ten trainings of which one fails."""
    book = _Notebook(out)

    def preprocess(record, training):
        import tensorflow as tf

        with tf.control_dependencies([tf.debugging.assert_less(record[0], -9.0)]):
            return tf.identity(record[0]), record[1]

    seen = book.folds(2, devices=int(devices))
    with contextlib.suppress(Exception):
        book.train(_data(preprocess=preprocess), devices=int(devices))
    seen += book.folds(devices=int(devices))
    return {"seen": seen, "other devices": book.refusal(devices=3)}


def folds_of_workers(out, hosts, index):
    """The same on one worker of several."""
    book = _Notebook(out, tfscale.Cluster.from_hosts(hosts, int(index)))
    return {"seen": book.folds(4)}


def main(scene, out, *arguments):
    folder = Path(out)
    seen = globals()[scene](folder, *arguments)
    name = "-".join((scene, *arguments[-1:]))
    (folder / f"{name}.json").write_text(json.dumps(seen))
    sys.stdout.flush()
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
