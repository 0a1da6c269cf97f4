"""Small trainings for real workers: python -m tests.jobs.scenes OUT HOSTS INDEX DEVICES ...

Each scene gives a dict of numbers and arrays, which every worker pickles; tests compare them
between one worker and several.
"""

import os
import pickle
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import tfscale

NUM_EXAMPLES = 400
GLOBAL_BATCH = 16
RAGGED = 37  # a size that divides by nothing


def _images(size=NUM_EXAMPLES, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, size)
    images = random.normal(size=(size, 6, 6, 2)) + labels[:, None, None, None] * 0.3
    return 0.25 * images.astype("float32"), labels.astype("int64")


def _image_data(size=NUM_EXAMPLES, **attributes):
    """A dataset object with a preprocess, so that the whole pipeline is taken."""
    import tensorflow as tf

    def load(split):
        if split == "validation":
            return tf.data.Dataset.from_tensor_slices(_images(RAGGED, seed=1))
        return tf.data.Dataset.from_tensor_slices(_images(size))

    def preprocess(record, training):
        return record[0] * 2.0 - 0.1, record[1]

    return SimpleNamespace(load=load, preprocess=preprocess, num_classes=4, **attributes)


class _Log:
    """Keeps the logs of every call and what the trained model gives."""

    def __new__(cls, at_end=None):
        import keras

        class Log(keras.callbacks.Callback):
            everywhere = True
            every_batch = False

            def __init__(self):
                super().__init__()
                self.batches, self.epochs, self.end = [], [], {}

            def on_train_batch_end(self, batch, logs=None):
                self.batches.append(dict(logs))

            def on_epoch_end(self, epoch, logs=None):
                self.epochs.append(dict(logs))

            def on_train_end(self, logs=None):
                self.end["weights"] = self.model.get_weights()
                if at_end is not None:
                    self.end |= at_end(self.model)

        return Log()


def _train(stage, data, build, *, at_end=None, callbacks=(), **settings):
    log = _Log(at_end)
    model = SimpleNamespace(build=build, callbacks=lambda: [log, *callbacks])
    settings = {"batch_size": GLOBAL_BATCH, "steps_per_execution": 1, **settings}
    config = tfscale.Config(
        run_dir=str(stage.out / stage.name), devices=stage.devices, overwrite=True, **settings
    )
    report = tfscale.train(config, stage.cluster, data, model)
    return {"batches": log.batches, "epochs": log.epochs, "report": report, **log.end}


def _convolutions(synchronized=True, **compile_arguments):
    def build(spec, num_classes):
        import keras

        model = keras.Sequential(
            [
                keras.Input(spec.shape),
                keras.layers.Conv2D(8, 3, use_bias=False),
                keras.layers.BatchNormalization(synchronized=synchronized, momentum=0.9),
                keras.layers.ReLU(),
                keras.layers.Flatten(),
                keras.layers.Dense(num_classes),
            ]
        )
        arguments = {"optimizer": keras.optimizers.SGD(0.05, momentum=0.9), **compile_arguments}
        if callable(arguments["optimizer"]) and not hasattr(arguments["optimizer"], "apply"):
            arguments["optimizer"] = arguments["optimizer"]()
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            **arguments,
        )
        return model

    return build


def _judge(model):
    """Evaluation and prediction of sets whose size divides by nothing."""
    images, labels = _images(RAGGED, seed=2)
    few, few_labels = images[:3], labels[:3]
    return {
        "evaluated": model.evaluate(images, labels, verbose=0, return_dict=True),
        "predicted": model.predict(images, verbose=0),
        "evaluated_few": model.evaluate(few, few_labels, verbose=0, return_dict=True),
        "predicted_few": model.predict(few, verbose=0),
    }


def parity_float32(stage):
    return _train(stage, _image_data(), _convolutions(), at_end=_judge, epochs=2)


def parity_float64(stage):
    return _train(
        stage, _image_data(), _convolutions(), at_end=_judge, epochs=2, precision="float64"
    )


def gradient_path(stage):
    """Buckets smaller than tensors, gradients of rows, and every wire."""
    images, few = _image_data(), {"steps_per_epoch": 10, "bucket_mb": 0.001}
    found = {
        "pieces": _train(stage, images, _convolutions(), **few),
        "halves": _train(stage, images, _dense(), accumulate_steps=2, **few),
        "rows": _train(stage, _word_data(5000), _words(5000), **few),
        "densified": _train(stage, _word_data(6), _words(6), **few),
    }
    for wire in ("bfloat16", "float16"):
        found[wire] = _train(stage, images, _convolutions(), wire_dtype=wire, **few)
    for compress in ("int8", "topk"):
        found[compress] = _train(stage, images, _convolutions(), compress=compress, **few)
    return found


def compressed(stage):
    """A digits classifier and a small ResNet reach with --compress what they reach without."""
    import keras

    from tests.jobs.digits import digits
    from tfscale.bench.workloads.small_resnet import SmallResNet

    def network(spec):
        return SmallResNet().keras_model(keras)

    def enlarged(record, training):
        import tensorflow as tf

        image, label = small.preprocess(record, training)
        return tf.image.grayscale_to_rgb(tf.image.resize(image, (32, 32))), label

    small = digits()
    large = SimpleNamespace(load=small.load, preprocess=enlarged, num_classes=10)
    found = {}
    for compress in ("none", "int8", "topk"):
        settings = {"compress": compress, "batch_size": 64, "steps_per_execution": 0}
        found[compress] = {
            "digits": _train(stage, small, _dense(), epochs=10, learning_rate=0.4, **settings),
            "resnet": _train(stage, large, network, epochs=12, learning_rate=0.4, **settings),
        }
    return found


def _word_data(count):
    import tensorflow as tf

    def load(split):
        if split != "train":
            return None
        random = np.random.default_rng(5)
        words = random.integers(0, count, (NUM_EXAMPLES, 3)).astype("int64")
        return tf.data.Dataset.from_tensor_slices((words, (words.sum(1) % 4).astype("int64")))

    return SimpleNamespace(load=load, num_classes=4)


def _words(count):
    def build(spec, num_classes):
        import keras

        layers = [
            keras.Input(spec.shape, dtype="int64"),
            keras.layers.Embedding(count, 8),
            keras.layers.Flatten(),
            keras.layers.Dense(num_classes),
        ]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.5), loss)
        return model

    return build


def clipping(stage):
    """K3: gradients are clipped after they have been summed."""

    def optimizer():
        import keras

        return keras.optimizers.SGD(1.0, global_clipnorm=0.05)

    build = _convolutions(optimizer=optimizer)
    return _train(stage, _image_data(), build, steps_per_epoch=5)


def accumulation(stage):
    """K7: two micro-batches a step give what one batch gives."""
    build = _dense()
    return {
        "whole": _train(stage, _image_data(), build, steps_per_epoch=10),
        "halves": _train(stage, _image_data(), build, steps_per_epoch=10, accumulate_steps=2),
    }


def compiled(stage):
    """K11: XLA compiles forward and backward, the all-reduce stays outside."""
    build = _dense()
    plain = _train(stage, _image_data(), build, steps_per_epoch=10)
    halves = {"accumulate_steps": 2, "jit": True}
    return {
        "plain": plain,
        "flag": _train(stage, _image_data(), build, steps_per_epoch=10, jit=True),
        "halves": _train(stage, _image_data(), build, steps_per_epoch=10, **halves),
        "model": _train(
            stage,
            _image_data(),
            _dense(jit_compile=True),
            steps_per_epoch=10,
        ),
    }


def not_compilable(stage):
    """A model with an operation that XLA doesn't have: it trains without XLA only."""
    import keras
    import tensorflow as tf

    class Printed(keras.layers.Layer):
        def call(self, x):
            return x + 0.0 * tf.strings.to_number(tf.strings.as_string(x))

    def build(spec, num_classes):
        return keras.Sequential(
            [keras.Input(spec.shape), keras.layers.Flatten(), Printed(), keras.layers.Dense(4)]
        )

    plain = _train(stage, _image_data(), build, steps_per_epoch=2)
    try:
        _train(stage, _image_data(), build, steps_per_epoch=2, jit=True)
    except tf.errors.InvalidArgumentError as error:
        return {"plain": plain, "compiled": str(error)}
    return {"plain": plain, "compiled": ""}


def _dense(**compile_arguments):
    def build(spec, num_classes):
        import keras

        model = keras.Sequential(
            [keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
        )
        if compile_arguments:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, **compile_arguments)
        return model

    return build


def statistics(stage):
    """K5: every replica sees another constant; what is saved is the mean of their statistics."""
    import keras
    import tensorflow as tf

    def load(split):
        if split == "train":
            return tf.data.Dataset.range(NUM_EXAMPLES)
        return None

    def build(spec):
        return keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.BatchNormalization(momentum=0.5, name="norm"),
                keras.layers.Dense(1),
            ]
        )

    def preprocess(record, training):
        x = tf.cast(record, tf.float32)[tf.newaxis]
        return x, x

    data = SimpleNamespace(load=load, preprocess=preprocess, task="regression")

    def saved(model):
        return {"moving_mean": model.get_layer("norm").moving_mean.numpy()}

    return _train(
        stage, data, build, at_end=saved, steps_per_epoch=1, learning_rate=1e-9, schedule="constant"
    )


def several_inputs(stage):
    """K2, K13: dict inputs (int64, string), two outputs and losses, weights, AUC, precision."""
    import keras
    import tensorflow as tf

    words = ["red", "green", "blue"]

    def load(split):
        size = RAGGED if split == "validation" else NUM_EXAMPLES
        random = np.random.default_rng(5 if split == "train" else 6)
        number, word = random.integers(0, 10, size), random.integers(0, 3, size)
        likely = ((number + 3 * word + random.normal(size=size)) > 8).astype("int64")
        return tf.data.Dataset.from_tensor_slices(
            {
                "number": number,
                "word": np.array(words)[word],
                "likely": likely,
                "sum": 0.1 * (number + word).astype("float32"),
                "weight": random.uniform(0.5, 1.5, size).astype("float32"),
            }
        )

    def preprocess(record, training):
        x = {"number": record["number"], "word": record["word"]}
        y = {"likely": record["likely"][tf.newaxis], "sum": record["sum"][tf.newaxis]}
        return x, y, {"likely": record["weight"], "sum": record["weight"]}

    def build(spec):
        number = keras.Input((), dtype="int64", name="number")
        word = keras.Input((), dtype="string", name="word")
        code = keras.layers.StringLookup(vocabulary=words)(word)
        x = keras.layers.Concatenate()(
            [keras.layers.Embedding(10, 4)(number), keras.layers.Embedding(4, 4)(code)]
        )
        x = keras.layers.Dense(8, activation="relu")(x)
        outputs = {
            "likely": keras.layers.Dense(1, activation="sigmoid", name="likely")(x),
            "sum": keras.layers.Dense(1, name="sum")(x),
        }
        model = keras.Model({"number": number, "word": word}, outputs)
        model.compile(
            optimizer=keras.optimizers.SGD(0.02, momentum=0.9),
            loss={"likely": "binary_crossentropy", "sum": "mean_squared_error"},
            metrics={"likely": [keras.metrics.Precision(name="precision")]},
            weighted_metrics={"likely": [keras.metrics.AUC(name="auc")]},
        )
        return model

    data = SimpleNamespace(
        load=load,
        preprocess=preprocess,
        task="regression",
        class_weight={"likely": {0: 1.0, 1: 3.0}},
    )
    return _train(stage, data, build, epochs=2)


def decisions(stage):
    """EarlyStopping and ReduceLROnPlateau decide the same everywhere."""
    import keras

    rates = []
    log = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(logs["learning_rate"]))
    )
    log.everywhere = True
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", patience=3, min_delta=0.01),
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.01, factor=0.5),
        log,
    ]
    result = _train(
        stage, _image_data(), _convolutions(), callbacks=callbacks, epochs=20, steps_per_epoch=3
    )
    return {**result, "rates": rates}


def _mixed(stage, precision):
    result = _train(
        stage,
        _image_data(),
        lambda spec, num_classes: _convolutions(jit_compile=False)(spec, num_classes),
        epochs=2,
        precision=precision,
    )
    return result


def mixed_bfloat16(stage):
    return _mixed(stage, "mixed_bfloat16")


def mixed_float16(stage):
    return _mixed(stage, "mixed_float16")


def overflow(stage):
    """K4: one example, which lands on one replica other than the first, has infinite gradients."""
    import keras
    import tensorflow as tf

    class Explosive(keras.layers.Layer):
        """Passes on what it gets; its gradient is infinite where an input is above 100."""

        def call(self, inputs):
            @tf.custom_gradient
            def explode(x):
                def gradient(upstream):
                    factor = tf.where(tf.reduce_max(x) > 100, np.inf, 1.0)
                    return upstream * tf.cast(factor, upstream.dtype)

                return tf.identity(x), gradient

            return explode(inputs)

    def load(split):
        return tf.data.Dataset.range(GLOBAL_BATCH) if split == "train" else None

    def preprocess(record, training):
        # A pass is one batch: the last rows belong to the last replica. See `where`.
        x = tf.cast(record, tf.float32)[tf.newaxis]
        x = tf.where(record == stage.where, 1000.0, x / GLOBAL_BATCH)
        return x, 0.1 * tf.ones([1])

    def build(spec):
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1), Explosive(), keras.layers.Dense(1)]
        )
        model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
        return model

    def state(model):
        return {
            "scale": float(model.optimizer.dynamic_scale.numpy()),
            "iterations": int(model.optimizer.iterations.numpy()),
        }

    data = SimpleNamespace(load=load, preprocess=preprocess, task="regression")
    # The example at the end of the one batch belongs to the last replica.
    stage.where = int(first_batch(GLOBAL_BATCH)[-1])
    before = _train(stage, data, build, at_end=state, precision="mixed_float16")
    stage.where = -1
    after = _train(stage, data, build, at_end=state, precision="mixed_float16")
    return {"overflow": before, "calm": after}


def first_batch(num_examples):
    """The examples of the first global batch, in the order in which replicas take them."""
    import tensorflow as tf

    from tfscale.data.sharding import shuffled

    index, _ = shuffled(
        tf.range(GLOBAL_BATCH, dtype=tf.int64),
        num_examples=num_examples,
        global_batch=GLOBAL_BATCH,
        seed=0,
    )
    return index.numpy()


def files_of_callbacks(stage):
    """K8: Keras's own callbacks write on the chief alone."""
    import keras

    folder = stage.out / "callbacks" / f"worker-{stage.cluster.index}"
    folder.mkdir(parents=True)
    callbacks = [
        keras.callbacks.ModelCheckpoint(str(folder / "best-{epoch}.keras")),
        keras.callbacks.CSVLogger(str(folder / "log.csv")),
        keras.callbacks.TensorBoard(str(folder / "board")),
    ]
    _train(stage, _image_data(), _convolutions(), callbacks=callbacks, steps_per_epoch=3)
    return {"files": sorted(path.name for path in folder.iterdir())}


def own_train_step(stage):
    """A subclassed model with a train_step of its own, and a log that is no metric."""
    import keras

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(4)

        def call(self, x):
            return self.dense(self.flatten(x))

        def train_step(self, data):
            import tensorflow as tf

            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            return {"own_loss": loss * replicas}

    def build(spec):
        model = Own()
        model.compile(
            optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model

    return _train(stage, _image_data(), build, epochs=1)


def loops(stage):
    """K10: the loop chooses its length, and its length changes no result."""
    build = _convolutions()
    return {
        "single": _train(stage, _image_data(), build, epochs=2),
        "chosen": _train(stage, _image_data(), build, epochs=2, steps_per_execution=0),
        "seven": _train(stage, _image_data(), build, epochs=2, steps_per_execution=7),
    }


def optimizers(stage):
    """Every optimizer of the flags takes the same steps on any number of replicas."""
    results = {}
    for name in ("sgd", "adamw", "lamb", "lars"):
        results[name] = _train(stage, _image_data(), _dense(), steps_per_epoch=8, optimizer=name)
    return results


def dropout(stage):
    """Replicas drop different units: the same input gives another output on each."""
    import keras
    import tensorflow as tf

    def load(split):
        return tf.data.Dataset.range(64) if split == "train" else None

    class Seen(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = keras.layers.Dropout(0.5, seed=1)

        def build(self, shape):
            self.kept = self.add_weight(shape=(32,), trainable=False, initializer="zeros")
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, x, training=False):
            dropped = self.drop(tf.ones([1, 32]), training=training)[0]
            if training:
                self.kept.assign(dropped)
            return x * self.scale

    def build(spec):
        return keras.Sequential([keras.Input((1,)), Seen()])

    def preprocess(record, training):
        x = tf.cast(record, tf.float32)[tf.newaxis]
        return x, x

    data = SimpleNamespace(load=load, preprocess=preprocess, task="regression")

    def kept(model):
        return {"kept": model.layers[-1].kept.numpy()}

    return _train(stage, data, build, at_end=kept, steps_per_epoch=1)


def main(out, hosts, index, devices, *names):
    cluster = tfscale.Cluster.from_hosts(hosts, int(index)) if hosts else tfscale.Cluster()
    for name in names:
        stage = SimpleNamespace(
            name=name, out=Path(out), cluster=cluster, devices=int(devices), where=-1
        )
        try:
            result = globals()[name](stage)
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        path = Path(out) / f"{name}-{index}.pickle"
        path.write_bytes(pickle.dumps(result))
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
