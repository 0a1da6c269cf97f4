"""Flips a bit of one replica in a training: python -m tests.faults.flipping OUT NAME...

NAME is WHERE-DEVICES-REPLICA: WHERE one of weights, optimizer, counter, nothing.
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import tfscale
from tests.jobs.one_by_one import one_by_one
from tfscale.startup.environment import set_environment

FLIPPED_AT = 5
STEPS = 12


def _flip(variable, replica):
    """Flips a bit of one element of a replica's copy, which the next update doesn't round away."""
    import tensorflow as tf

    value = variable.value if hasattr(variable, "value") else variable
    copy = tf.distribute.get_strategy().experimental_local_results(value)[replica]
    array = np.array(copy.numpy())
    array.reshape(-1).view(np.uint8)[array.itemsize // 2] ^= 1
    copy.assign(array)


def _places(model, where):
    if where == "weights":
        return model.trainable_variables[-1]
    if where == "optimizer":
        return model.optimizer.variables[-1]
    return model.optimizer.iterations


def _trained(folder, where, devices, replica):
    import keras

    from datasets import digits

    class Flips(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch + 1 == FLIPPED_AT and where != "nothing":
                with strategies[0].scope():
                    _flip(_places(self.model, where), replica)

    strategies = []

    def build(spec, num_classes):
        import tensorflow as tf

        strategies.append(tf.distribute.get_strategy())
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input(spec.shape),
                layers.Flatten(),
                layers.Dense(16),
                layers.BatchNormalization(),
                layers.Dropout(0.5),
                layers.Dense(num_classes),
            ]
        )

    config = tfscale.Config(
        run_dir=str(folder),
        batch_size=24,
        steps_per_epoch=STEPS,
        devices=devices,
        optimizer="adamw",
        checkpoint_every_steps=3,
    )
    model = SimpleNamespace(__name__="model", build=build, callbacks=lambda: [Flips()])
    data = SimpleNamespace(
        __name__="data", load=_train_only(digits), preprocess=digits.preprocess, num_classes=10
    )
    tfscale.train(config, tfscale.Cluster(), data, model)


def _train_only(digits):
    return lambda split: digits.load(split) if split == "train" else None


def main(out, *names):
    set_environment(tfscale.Cluster())
    found = {}
    for name in one_by_one(names):
        where, devices, replica = name.split("-")
        folder = Path(out) / name
        try:
            _trained(folder, where, int(devices), int(replica))
            found[name] = {"code": 0, "reason": ""}
        except Exception as error:
            reason, code = tfscale.describe_failure(error)
            found[name] = {"code": code, "reason": reason}
        found[name]["steps"] = sorted(
            int(path.name[5:]) for path in (folder / "checkpoints").glob("step-*")
        )
        Path(out, "found.json").write_text(json.dumps(found))
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
