"""Trainings that are cut off and gone on with: python -m tests.faults.resuming OUT DEVICES NAME...

Each is an entry of the gallery or of KINDS below. It trains without a break, then again with an
error in its midst, and a third time to the end; weights, history and files have to be the same.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import tfscale
from tests.jobs.one_by_one import one_by_one
from tfscale.startup.environment import set_environment

SEED = 3


def _of_keras(build_extra):
    """A dense model of the gallery with callbacks of Keras's, which write to a folder."""

    def kind(folder):
        return {"entry": "subclassed", "callbacks": lambda: build_extra(Path(folder)), "epochs": 6}

    return kind


def _patience(folder):
    import keras

    return [
        keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1.0),
    ]


def _files(folder):
    import keras

    return [
        keras.callbacks.CSVLogger(str(folder / "log.csv")),
        keras.callbacks.ModelCheckpoint(str(folder / "best.weights.h5"), save_weights_only=True),
    ]


def _rates(folder):
    import keras

    class Draws(keras.callbacks.Callback):
        """Keeps what JSON can't hold as it is: arrays, tuples, dicts; and draws random numbers."""

        everywhere = True

        def __init__(self):
            super().__init__()
            self.kept, self.by_epoch, self.last = [], {}, ()

        def on_epoch_end(self, epoch, logs=None):
            import random

            import numpy as np

            drawn = random.random()
            self.by_epoch[epoch] = (np.random.rand(2), drawn)
            self.last = (epoch, np.float32(logs["loss"]))
            self.kept.append(self.last)

        def on_train_end(self, logs=None):
            (folder / "draws.txt").write_text(f"{self.kept}{self.by_epoch}{self.last}")

    return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9), Draws()]


KINDS = {
    "keras_patience": _of_keras(_patience),
    "keras_files": _of_keras(_files),
    "keras_rates": _of_keras(_rates),
    "float16": lambda folder: {
        "entry": "uncompiled",
        "settings": {"precision": "mixed_float16", "optimizer": "adamw"},
    },
    "int8": lambda folder: {
        "entry": "uncompiled",
        "settings": {"compress": "int8", "steps_per_execution": 1},
    },
    "random": lambda folder: {"entry": "random", "settings": {}},
    "topk": lambda folder: {"entry": "uncompiled", "settings": {"compress": "topk"}},
}


def _uncompiled():
    import keras

    keras.utils.set_random_seed(SEED)
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dropout(0.3), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((6,)), *layers])


def _random():
    """Draws with Keras's global generator, which no layer has made."""
    import keras

    class Noisy(keras.Sequential):
        def train_step(self, data):
            x, y = data
            return super().train_step((x + keras.random.normal((1, 6), stddev=0.1), y))

    keras.utils.set_random_seed(SEED)
    model = Noisy([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    return model


BUILDS = {"uncompiled": _uncompiled, "random": _random}


def _kind(name, folder):
    """Entry, settings and callbacks of a name."""
    from tests.jobs.gallery.__main__ import _entry
    from tests.jobs.gallery.entry import EPOCHS, Entry, vectors

    said = KINDS[name](folder) if name in KINDS else {"entry": name}
    if said["entry"] in BUILDS:
        entry = Entry(BUILDS[said["entry"]], vectors, settings=said["settings"])
    else:
        entry = _entry(said["entry"])
    return entry, said.get("callbacks", list), said.get("epochs", EPOCHS)


def _trained(name, out, folder, devices, fail_at=0):
    """Trains into a folder; an error comes after so many steps."""
    import keras
    import tensorflow as tf

    from tests.jobs.gallery.__main__ import _splits
    from tests.jobs.gallery.entry import BATCH

    folder.mkdir(parents=True, exist_ok=True)
    entry, own, epochs = _kind(name, folder)
    train, validation = _splits(entry)
    by_split = {"train": train, "validation": validation}
    history = []

    class Fails(keras.callbacks.Callback):
        everywhere = True

        def __init__(self):
            super().__init__()
            self.steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if self.steps == fail_at:
                raise RuntimeError("a fault")

        def on_train_end(self, logs=None):
            history.append(self.model.history.history)

    dataset = SimpleNamespace(
        __name__="data",
        load=lambda split: tf.data.Dataset.from_tensor_slices(by_split[split]),
        class_weight=entry.class_weight,
        task="regression",
    )
    settings = {"batch_size": BATCH, "epochs": epochs, "seed": SEED, "devices": devices}
    config = tfscale.Config(
        run_dir=str(folder / "run"), checkpoint_every_steps=1, **{**settings, **entry.settings}
    )
    model = SimpleNamespace(
        __name__="model", build=entry.build, callbacks=lambda: [*own(), Fails()]
    )
    shown = []
    report = tfscale.train(
        config, tfscale.Cluster(), dataset, model, terminal=tfscale.Terminal(shown.append)
    )
    files = {
        path.name: path.read_text() for path in sorted(folder.iterdir()) if path.suffix in TEXTS
    }
    return {
        "sha256": report["weights_sha256"],
        "history": repr(history),
        "files": files,
        "steps": report["steps"],
        "starts": report["starts"],
        "shown": "\n".join(shown),
    }


TEXTS = (".csv", ".txt")


def main(out, devices, *names):
    set_environment(tfscale.Cluster())
    found = {}
    for name in one_by_one(names):
        try:
            clean = _trained(name, out, Path(out) / name / "clean", int(devices))
            broken = Path(out) / name / "broken"
            try:
                _trained(name, out, broken, int(devices), fail_at=clean["steps"] // 2 + 1)
            except RuntimeError as error:
                fault = str(error)
            again = _trained(name, out, broken, int(devices))
            found[name] = {"clean": clean, "again": again, "fault": fault}
        except Exception:
            found[name] = {"error": traceback.format_exc()}
        Path(out, "found.json").write_text(json.dumps(found))
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
