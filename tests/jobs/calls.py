"""Callbacks and calls of a user's, in plain Keras or on workers: OUT HOSTS INDEX DEVICES NAME ...

DEVICES = 0 is plain Keras in one process. Every process pickles what a scene gives.
"""

import json
import os
import pickle
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import tfscale
from tests.jobs.one_by_one import one_by_one

ROWS = 400  # 25 steps of 16, all alike: their order can't matter
BATCH = 16


class Stage(SimpleNamespace):
    """`out`, `cluster`, `devices` and the name of the scene."""

    def train(self, build, callbacks, *, epochs=2, validation=0, **settings):
        """Trains in plain Keras or with tfscale; gives the weights and the history."""
        import keras

        if self.devices == 0:
            keras.utils.set_random_seed(0)
            model = build(None)
            x, y = _alike(ROWS)
            data = (_alike(validation),) if validation else (None,)
            made = callbacks()
            model.fit(
                x,
                y,
                BATCH,
                epochs,
                verbose=0,
                callbacks=made,
                validation_data=data[0],
                validation_batch_size=BATCH,
            )
            return {"weights": model.get_weights(), "history": model.history.history}
        kept = {}

        class Kept(keras.callbacks.Callback):
            everywhere = True

            def on_train_end(self, logs=None):
                kept["weights"] = self.model.get_weights()
                kept["history"] = dict(self.model.history.history)

        def load(split):
            import tensorflow as tf

            size = ROWS if split == "train" else validation
            return tf.data.Dataset.from_tensor_slices(_alike(size)) if size else None

        config = tfscale.Config(
            run_dir=str(self.out / f"run-{self.name}"),
            devices=self.devices,
            batch_size=BATCH,
            epochs=epochs,
            overwrite=True,
            **settings,
        )
        model = SimpleNamespace(build=build, callbacks=lambda: [*callbacks(), Kept()])
        data = SimpleNamespace(load=load, task="regression")
        report = tfscale.train(config, self.cluster, data, model)
        plan = json.loads(Path(config.run_dir, "config.json").read_text())["plan"]
        return {**kept, **{name: report[name] for name in ("epochs", "steps")}, "plan": plan}


def _alike(rows):
    return np.tile(np.float32([[1, 2, -1]]), (rows, 1)), np.full((rows, 1), 0.5, "float32")


def _line(**compiled):
    def build(spec):
        import keras

        start = keras.initializers.Constant(0.3)
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1, kernel_initializer=start)]
        )
        model.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"], **compiled)
        return model

    return build


def every_batch(stage):
    """A rate that changes at every batch, and hooks that write down where they are called."""
    import keras

    seen = {"begin": [], "end": [], "test": [], "loss": []}

    class Cyclic(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen["begin"].append(batch)
            self.model.optimizer.learning_rate = 0.002 * (1 + batch % 5)

        def on_batch_end(self, batch, logs=None):
            seen["end"].append(batch)
            seen["loss"].append(logs["loss"])

        def on_test_batch_end(self, batch, logs=None):
            seen["test"].append(batch)

    result = stage.train(_line(), lambda: [Cyclic()], validation=37)
    return {**result, **seen}


def stopping(stage):
    """What a rate finder does: raises the rate at every batch, and stops in the middle."""
    import keras

    seen = []

    class Finder(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)
            self.model.optimizer.learning_rate.assign(1e-4 * 1.1 ** len(seen))
            self.model.stop_training = len(seen) == 33

        def on_train_end(self, logs=None):
            self.model.set_weights([2 * weight for weight in self.model.get_weights()])

    result = stage.train(_line(), lambda: [Finder()], epochs=3)
    return {**result, "seen": seen}


def saving(stage):
    """ModelCheckpoint counts batches, over the end of an epoch too."""
    import keras

    folder = stage.out / f"saved-{stage.cluster.index}"
    path = str(folder / "{epoch}-{batch}.weights.h5")

    def callbacks():
        return [
            keras.callbacks.ModelCheckpoint(path, save_freq=7, save_weights_only=True),
            keras.callbacks.TensorBoard(str(folder / "board"), update_freq=10, profile_batch=0),
        ]

    result = stage.train(_line(), callbacks)
    return {**result, "files": sorted(path.name for path in folder.glob("*.h5"))}


def executions(stage):
    """compile(steps_per_execution=4)."""
    import keras

    seen = []

    class Seen(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(("begin", batch))

        def on_train_batch_end(self, batch, logs=None):
            seen.append(("end", batch))

        def on_test_batch_end(self, batch, logs=None):
            seen.append(("test", batch))

    result = stage.train(_line(steps_per_execution=4), lambda: [Seen()], validation=100)
    return {**result, "seen": seen}


def without_hooks(stage):
    """Nobody wants batches: Python is entered about once a second."""
    import keras

    seen = []

    class Calm(keras.callbacks.Callback):
        every_batch = False

        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    result = stage.train(_line(), lambda: [Calm()], epochs=20)
    return {**result, "seen": seen}


def once(stage):
    """A callback that writes, looks at the clock, adds a log, and asks the model."""
    import keras

    lines = stage.out / "lines.txt"
    asked = []
    x, y = _alike(37)

    class Writer(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with lines.open("a") as file:
                file.write(f"{epoch} {tfscale.is_chief()}\n")
            logs["mine"] = float(np.random.default_rng().random() - epoch)
            asked.append(
                {
                    "predicted": self.model.predict(x, verbose=0),
                    "evaluated": self.model.evaluate(x, y, verbose=0, return_dict=True),
                    "called": keras.ops.convert_to_numpy(self.model(x[:2])),
                    "half": keras.Model(self.model.inputs, self.model.layers[0].output).predict(
                        x, verbose=0
                    ),
                }
            )
            self.model.save(stage.out / "mine.keras")

    heard = []
    follower = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: heard.append((logs["mine"], tfscale.is_chief()))
    )
    follower.everywhere = True
    stop = keras.callbacks.EarlyStopping("mine", mode="max", patience=2)
    result = stage.train(_line(), lambda: [Writer(), follower, stop], epochs=9)
    return {**result, "lines": lines.read_text(), "asked": asked, "heard": heard}


def evaluated_in_between(stage):
    """An evaluation in the middle of an epoch starts the metrics over, as in Keras."""
    import keras

    x, y = _alike(10)

    class Middle(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 20:
                self.model.evaluate(x, y, verbose=0)

    return stage.train(_line(), lambda: [Middle()])


def several_inputs(stage, everywhere=False):
    """Everything that predict and evaluate take."""
    import keras

    found = {}

    class Asking(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            found.update(_asked(_two_towers()))

    class AskingAll(Asking):
        everywhere = True

    if stage.devices == 0:
        return _asked(_two_towers()(None))
    model = _two_towers()

    def load(split):
        import tensorflow as tf

        a, b, y, z = _towers_data()
        data = tf.data.Dataset.from_tensor_slices(((a, b), (y, z)))
        return data.take(16) if split == "train" else None

    class Trained(AskingAll if everywhere else Asking):
        def on_train_begin(self, logs=None):
            found.update(_asked(self.model))

    config = tfscale.Config(
        run_dir=str(stage.out / f"run-{stage.name}"),
        devices=stage.devices,
        batch_size=BATCH,
        overwrite=True,
    )
    user = SimpleNamespace(build=model, callbacks=lambda: [Trained()])
    tfscale.train(config, stage.cluster, SimpleNamespace(load=load, task="regression"), user)
    return found


def several_inputs_everywhere(stage):
    """The same from a callback that runs on every worker."""
    return several_inputs(stage, everywhere=True)


def _towers_data(rows=70):
    random = np.random.default_rng(1)
    a, b = random.normal(size=(rows, 3)), random.normal(size=(rows, 2))
    return [part.astype("float32") for part in (a, b, a[:, :1], b.sum(1, keepdims=True))]


def _two_towers():
    def build(spec):
        import keras
        import tensorflow as tf

        class Towers(keras.Model):
            def predict_step(self, data):
                x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
                first, second = self(x, training=False)
                return {
                    "pair": (first, [second]),
                    "text": tf.strings.join([tf.strings.as_string(first, precision=3), "é\0"]),
                    "above": first > 0,
                    "large": tf.cast(first * 1e12, tf.int64) * 2**20,
                    "turned": tf.complex(first, second),
                    "small": tf.cast(first, tf.bfloat16),
                }

        def start(seed):
            return keras.initializers.RandomNormal(seed=seed)

        inputs = [keras.Input((3,), name="a"), keras.Input((2,), name="b")]
        both = keras.layers.Concatenate()(inputs)
        outputs = [keras.layers.Dense(1, kernel_initializer=start(seed))(both) for seed in (1, 2)]
        model = Towers(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.0), ["mse", "mae"], metrics=[["mae"], ["mse"]])
        return model

    return build


def _asked(model):
    import keras
    import tensorflow as tf

    a, b, y, z = _towers_data()
    counted = {"predict": [], "test": []}

    class Counting(keras.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            counted["predict"].append((batch, logs["above"].shape[0]))

        def on_test_batch_end(self, batch, logs=None):
            counted["test"].append(batch)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, number):
            part = slice(number * 20, number * 20 + 20)
            return (a[part], b[part]), (y[part], z[part])

    def generated(with_labels=True):
        for first in range(0, 70, 30):
            part = slice(first, first + 30)
            yield ((a[part], b[part]), (y[part], z[part])) if with_labels else ((a[part], b[part]),)

    labelled = tf.data.Dataset.from_tensor_slices(((a, b), (y, z)))
    words = {"verbose": 0, "return_dict": True}
    weight = np.linspace(0.1, 2, 70).astype("float32")
    return {
        "list": model.predict([a, b], verbose=0),
        "dict": model.predict({"a": a, "b": b}, 9, 0),
        "steps": model.predict([a, b], steps=2, verbose=0),
        "few": model.predict([a[:1], b[:1]], verbose=0),
        "watched": model.predict([a, b], batch_size=13, verbose=0, callbacks=[Counting()]),
        "dataset": model.predict(labelled.batch(11), steps=3, verbose=0),
        "unknown": model.predict(labelled.filter(lambda *_: True).batch(11), verbose=0),
        "generator": model.predict(generated(False), verbose=0),
        "sequence": model.predict(Batches(), verbose=0),
        "one batch": model.predict_on_batch([a[:5], b[:5]]),
        "scores": model.evaluate([a, b], [y, z], **words),
        "plain list": model.evaluate([a, b], [y, z], 14, 0),
        "weighted": model.evaluate([a, b], [y, z], sample_weight=[weight, weight], **words),
        "scores of steps": model.evaluate([a, b], [y, z], steps=1, callbacks=[Counting()], **words),
        "scores of 9": model.evaluate([a, b], [y, z], 9, callbacks=[Counting()], **words),
        "scores of a dataset": model.evaluate(labelled.batch(11), **words),
        "scores of a generator": model.evaluate(generated(), **words),
        "scores of a sequence": model.evaluate(Batches(), **words),
        "scores of one batch": model.test_on_batch(
            [a[:5], b[:5]], [y[:5], z[:5]], return_dict=True
        ),
        "counted": counted,
        "refused": {
            "lengths": _error(lambda: model.evaluate([a, b], [y[:3], z], verbose=0)),
            "kind": _error(lambda: model.predict(3, verbose=0)),
            "labels of a dataset": _error(lambda: model.evaluate(labelled.batch(8), y, verbose=0)),
        },
    }


def _error(call):
    try:
        call()
    except Exception as error:
        return isinstance(error, ValueError), str(error)
    return None


def refused_data(stage):
    """What plain Keras hangs on, fails on, or what can't be split."""
    import keras
    import tensorflow as tf

    x, y = _alike(8)
    found = {}

    class Asking(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            model, endless = self.model, tf.data.Dataset.from_tensors(x).repeat()
            ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0], [2.0, 3.0]]))
            found["empty"] = _error(lambda: model.predict(x[:0], verbose=0))
            found["endless"] = _error(lambda: model.predict(endless, verbose=0))
            found["ragged"] = _error(lambda: model.predict(ragged, verbose=0))
            found["fit"] = _error(lambda: model.fit(x, y, verbose=0))
            found["train_on_batch"] = _error(lambda: model.train_on_batch(x, y))

    stage.train(_line(), lambda: [Asking()], epochs=1)
    return found


def reading_a_metric(stage):
    """A callback of the chief alone does what all have to take part in."""
    import keras

    class Reading(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.metrics[0].result()

    return stage.train(_line(), lambda: [Reading()])


def guarded_by_rank(stage):
    """A callback that runs everywhere asks the model on the chief alone."""
    import keras

    from tfscale.fit.keras import keras_data

    keras_data._COMPANY_SECONDS = 3.0

    class Guarded(keras.callbacks.Callback):
        everywhere = True

        def on_epoch_end(self, epoch, logs=None):
            if tfscale.is_chief():
                self.model.predict(_alike(5)[0], verbose=0)

    return stage.train(_line(), lambda: [Guarded()], epochs=3)


def other_callbacks(stage):
    """The workers differ in what runs everywhere."""
    import keras

    return stage.train(
        _line(), lambda: [keras.callbacks.EarlyStopping("loss")] if tfscale.is_chief() else []
    )


def other_data(stage):
    """The workers ask about different rows."""
    import keras

    class Asking(keras.callbacks.Callback):
        everywhere = True

        def on_train_begin(self, logs=None):
            self.model.predict(np.full((4, 3), stage.cluster.index, "float32"), verbose=0)

    return stage.train(_line(), lambda: [Asking()])


def main(out, hosts, index, devices, *names):
    cluster = tfscale.Cluster.from_hosts(hosts, int(index)) if hosts else tfscale.Cluster()
    for name in one_by_one(names):
        stage = Stage(name=name, out=Path(out), cluster=cluster, devices=int(devices))
        try:
            result = globals()[name](stage)
        except tfscale.SharedFailure as failure:
            sys.stderr.write(f"{failure.reason}\n")
            os._exit(failure.code)
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        (Path(out) / f"{name}-{index}.pickle").write_bytes(pickle.dumps(result))
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
