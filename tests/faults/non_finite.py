"""Trainings in which something isn't finite: python -m tests.faults.non_finite OUT DEVICES NAME...

Each is an entry of KINDS: what came of it is written as JSON. One example of POISONED is special,
and only some of the models make something of it that isn't finite.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import tfscale
from tests.jobs.one_by_one import one_by_one
from tfscale.startup.environment import set_environment

SEED, SIZE, BATCH, EPOCHS, POISONED = 3, 96, 16, 2, 21
FAR_LABEL = 3.0  # of the special example; others are less than 1


def examples(value):
    """The data, with a special example."""
    x = np.random.default_rng(0).normal(size=(SIZE, 6)).astype("float32")
    y = np.tanh(x[:, :3])
    x[POISONED], y[POISONED] = value, FAR_LABEL
    return x, y


def orders():
    """The examples of each epoch, in the order in which they are seen."""
    import tensorflow as tf

    from tfscale.data.sharding import pass_order

    return [
        pass_order(tf.constant(epoch, tf.int64), num_examples=SIZE, seed=SEED).numpy()
        for epoch in range(EPOCHS)
    ]


def bad_steps():
    """The steps with the special example; the first step is 1."""
    places = [int(np.flatnonzero(order == POISONED)[0]) for order in orders()]
    return [epoch * (SIZE // BATCH) + place // BATCH + 1 for epoch, place in enumerate(places)]


def dense(middle=(), loss="mse", metrics=()):
    """A model of layers and statistics."""
    import keras

    keras.utils.set_random_seed(SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, use_bias=False, name="first"),
            *middle,
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(3),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=list(metrics))
    return model


def _log():
    import keras

    @keras.saving.register_keras_serializable("tests")
    class Log(keras.layers.Layer):
        def call(self, x):
            return x + 0.0 * keras.ops.log(keras.ops.relu(1e4 - keras.ops.max(keras.ops.abs(x))))

    return dense([Log(name="log")])


def _norm():
    """The gradient of a length isn't finite where it is 0."""
    import keras
    import tensorflow as tf

    @keras.saving.register_keras_serializable("tests")
    class Norm(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x):
            return x + tf.norm(x * self.scale, axis=-1, keepdims=True)

    return dense([Norm(name="norm")])


def _relu():
    """Makes 0 of what isn't a number, so that no loss shows it."""
    import keras

    return dense([keras.layers.ReLU()])


def _flat():
    """A loss that isn't finite, with a gradient that is."""
    import keras

    def loss(y, found):
        is_bad = keras.ops.any(y > 2)
        extra = keras.ops.where(is_bad, float("inf"), 0.0)
        return keras.ops.mean(keras.ops.square(y - found)) + extra

    return dense(loss=loss)


def _metric():
    import keras

    def nan(y, found):
        return keras.ops.mean(found) * float("nan")

    return dense(metrics=[nan])


def _pair():
    """Two optimizers in a train_step of its own; only the second one's loss isn't finite."""
    import keras
    import tensorflow as tf

    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = (
                keras.layers.Dense(3, name="one"),
                keras.layers.Dense(3, name="two"),
            )

        def compile(self):
            super().compile()
            self.first, self.second = keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.01)

        def call(self, x):
            return self.one(x) + self.two(x)

        def train_step(self, data):
            x, y = data
            losses = {}
            with tf.GradientTape() as tape:
                losses["a"] = tf.reduce_mean(tf.square(self.one(tf.clip_by_value(x, -2, 2)) - y))
            weights = self.one.trainable_variables
            self.first.apply(tape.gradient(losses["a"], weights), weights)
            with tf.GradientTape() as tape:
                far = tf.math.log(1e4 - tf.minimum(tf.reduce_max(tf.abs(x)), 1e5))
                losses["b"] = tf.reduce_mean(tf.square(self.two(x) - y)) + 0.0 * far
            weights = self.two.trainable_variables
            self.second.apply(tape.gradient(losses["b"], weights), weights)
            return losses

    keras.utils.set_random_seed(SEED)
    model = Pair()
    model.compile()
    return model


def _terminate():
    import keras

    return [keras.callbacks.TerminateOnNaN()]


NAN, FAR = float("nan"), 1e6
# The model, the special example's values, and settings of the run.
KINDS = {
    "input": (dense, NAN, {}),
    "relu": (_relu, NAN, {}),
    "layer": (_log, FAR, {}),
    "gradient": (_norm, 0.0, {"checkpoint_every_steps": 2, "steps_per_execution": 4}),
    "flat": (_flat, 1.0, {"on_nan": "rollback"}),
    "micro_batches": (dense, NAN, {"accumulate_steps": 2}),
    "pair": (_pair, FAR, {}),
    "no_checkpoints": (_log, FAR, {"keep_checkpoints": 0}),
    "terminate": (_log, FAR, {"callbacks": _terminate}),
    "metric": (_metric, 1.0, {}),
    "float16": (None, 1.0, {"precision": "mixed_float16", "on_nan": "skip"}),
    "skip_input": (dense, NAN, {"on_nan": "skip"}),
    "skip_gradient": (_norm, 0.0, {"on_nan": "skip", "steps_per_execution": 1}),
    "skip_flat": (_flat, 1.0, {"on_nan": "skip"}),
    "skip_pair": (_pair, FAR, {"on_nan": "skip"}),
    "skip_all": (dense, NAN, {"on_nan": "skip", "epochs": 60, "batch_size": SIZE // 2}),
}


def ours(name, folder, devices):
    """Trains with the library."""
    import keras
    import tensorflow as tf

    build, value, settings = KINDS[name]
    settings = {**settings}
    own, history, models, shown = settings.pop("callbacks", list), [], [], []
    x, y = examples(value)
    if name == "skip_all":
        x[:] = value

    def made():
        models.append(build() if build else _uncompiled())
        return models[-1]

    def callbacks():
        keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: history.append(logs))
        keep.everywhere = True
        return [*own(), keep]

    dataset = SimpleNamespace(
        __name__="data",
        load=lambda split: tf.data.Dataset.from_tensor_slices((x, y)) if split == "train" else None,
        task="regression",
    )
    given = {"batch_size": BATCH, "epochs": EPOCHS, "seed": SEED, "devices": devices}
    found = {"reason": "", "code": 0, "report": None}
    try:
        found["report"] = tfscale.train(
            tfscale.Config(run_dir=str(folder / "run"), **{**given, **settings}),
            tfscale.Cluster(),
            dataset,
            SimpleNamespace(__name__="model", build=made, callbacks=callbacks),
            terminal=tfscale.Terminal(shown.append),
        )
    except tfscale.errors.SharedFailure as error:
        found |= {"reason": error.reason, "code": error.code}
    files = sorted(path.name for path in (folder / "run").rglob("*") if path.is_file())
    weights = [one.tolist() for one in models[0].get_weights()]
    scale = getattr(models[0].optimizer, "dynamic_scale", None)
    found["scale"] = None if scale is None else float(scale.numpy())
    history = [{name: float(value) for name, value in logs.items()} for logs in history]
    return found | {"files": files, "shown": shown, "weights": weights, "history": history}


def _uncompiled():
    """Gradients overflow at first, because the scale of the loss is too large."""
    import keras

    keras.utils.set_random_seed(SEED)
    layers = [keras.layers.Rescaling(1e4), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((6,)), *layers])


def plain(name):
    """Trains with Keras, without the batches that have the special example."""
    import tensorflow as tf

    build, value, _ = KINDS[name]
    x, y = examples(value)
    model, history = build(), []
    for order in orders():
        batches = [one for one in order.reshape(-1, BATCH) if POISONED not in one]
        seen = np.concatenate(batches)
        data = tf.data.Dataset.from_tensor_slices((x[seen], y[seen])).batch(BATCH)
        history.append({k: float(v[0]) for k, v in model.fit(data, verbose=0).history.items()})
    return {"weights": [one.tolist() for one in model.get_weights()], "history": history}


def main(out, devices, *names):
    set_environment(tfscale.Cluster())
    found = {}
    for name in one_by_one(names):
        try:
            if name.startswith("plain_"):
                found[name] = plain(name.removeprefix("plain_"))
            else:
                found[name] = ours(name, Path(out) / name, int(devices))
        except Exception:
            found[name] = {"error": traceback.format_exc()}
    found["bad steps"] = bad_steps()
    Path(out, "found.json").write_text(json.dumps(found))
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
