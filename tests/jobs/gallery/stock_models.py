"""Models with Keras's own steps: losses, optimizers and layers of every kind."""

import keras
import numpy as np
from keras import layers, ops

from tests.jobs.gallery.entry import classes, entry, images, sentences, vectors


def _dense(outputs=3, **compiled):
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(outputs)]
    )
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1, momentum=0.9), **compiled})
    return model


@entry(data=vectors)
def loss_of_one_number():
    return _dense(loss=lambda y, p: ops.mean(ops.square(y - p)), metrics=["mae"])


@entry(data=vectors)
def loss_of_a_sum():
    return _dense(
        optimizer=keras.optimizers.SGD(0.002), loss=keras.losses.MeanSquaredError(reduction="sum")
    )


@entry(data=vectors)
def loss_of_a_sum_by_hand():
    return _dense(
        optimizer=keras.optimizers.SGD(0.002), loss=lambda y, p: ops.sum(ops.square(y - p))
    )


@entry(data=classes)
def loss_per_example():
    def focal(y, p):
        p = ops.softmax(p)
        own = ops.take_along_axis(p, ops.cast(y, "int32")[:, None], axis=1)[:, 0]
        return -ops.square(1 - own) * ops.log(own + 1e-7)

    return _dense(4, loss=focal)


@entry(data=vectors)
def regularized():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "tanh", kernel_regularizer="l2", activity_regularizer="l1"),
            layers.Dense(3),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def _weighted(size, generator):
    x, y = vectors(size, generator)
    return x, y, generator.uniform(0, 2, size).astype(np.float32)


@entry(data=_weighted)
def sample_weights():
    return _dense(loss="mse", weighted_metrics=["mae"])


@entry(data=_weighted)
def mean_with_sample_weight():
    return _dense(loss=keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))


@entry(data=_weighted, settings={"accumulate_steps": 2})
def mean_with_sample_weight_accumulated():
    return _dense(loss=keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))


def _void(size, generator):
    x, labels = images(size, generator)
    y = generator.integers(0, 4, (size, 8, 8))
    y[generator.uniform(size=y.shape) < generator.uniform(size=(size, 1, 1))] = 255
    return x, y.astype(np.int64)


def _segmentation():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(8, 3, padding="same"), layers.Conv2D(4, 1)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


@entry(data=_void)
def segmentation_with_void():
    return _segmentation()


@entry(data=_void, settings={"accumulate_steps": 2})
def segmentation_with_void_accumulated():
    return _segmentation()


@entry(data=sentences)
def recurrent_with_mask():
    model = keras.Sequential(
        [
            keras.Input((10,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            layers.LSTM(8),
            layers.Dense(2),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def _next_words(size, generator):
    x, _ = sentences(size, generator)
    return x, np.roll(x, -1, axis=1).astype(np.int64)


@entry(data=_next_words)
def tagging_with_mask():
    model = keras.Sequential(
        [
            keras.Input((10,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            layers.GRU(8, return_sequences=True),
            layers.Dense(20),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
    )
    return model


@entry(data=_next_words)
def transformer_with_padding():
    inputs = keras.Input((10,), dtype="int32")
    x = layers.Embedding(20, 8, mask_zero=True)(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    x = layers.LayerNormalization()(x + layers.Dense(8)(layers.Dense(16, "gelu")(x)))
    model = keras.Model(inputs, layers.Dense(20)(x))
    model.compile(
        keras.optimizers.AdamW(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def _two_towers(size, generator):
    users, items = generator.integers(0, 5, size), generator.integers(0, 7, size)
    x = {"user": users.astype(np.int32), "item": items.astype(np.int32)}
    return x, ((users + items) % 2).astype(np.float32)


def _embedded(optimizer):
    inputs = {name: keras.Input((), dtype="int32", name=name) for name in ("user", "item")}
    user = layers.Embedding(5, 4)(inputs["user"])
    item = layers.Embedding(7, 4)(inputs["item"])
    model = keras.Model(inputs, layers.Dot(1)([user, item]))
    model.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True))
    return model


@entry(data=_two_towers)
def two_towers_with_adam():
    return _embedded(keras.optimizers.Adam(0.05))


@entry(data=_two_towers)
def two_towers_with_clipping():
    return _embedded(keras.optimizers.SGD(0.5, clipnorm=0.05))


@entry(data=_two_towers)
def two_towers_with_sgd():
    return _embedded(keras.optimizers.SGD(0.5, momentum=0.9))


@entry(data=classes, class_weight={0: 1.0, 1: 3.0, 2: 0.5, 3: 2.0})
def weighted_classes():
    return _dense(4, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def _two_labels(size, generator):
    x, y = vectors(size, generator)
    return x, {"a": y, "b": (y[:, 0] > 0).astype(np.float32)[:, None]}


@entry(data=_two_labels)
def two_outputs():
    inputs = keras.Input((6,))
    x = layers.Dense(8, "tanh")(inputs)
    outputs = {"a": layers.Dense(3, name="a")(x), "b": layers.Dense(1, name="b")(x)}
    model = keras.Model(inputs, outputs)
    losses = {"a": "mse", "b": keras.losses.BinaryCrossentropy(from_logits=True)}
    model.compile(keras.optimizers.SGD(0.1), losses, loss_weights={"a": 0.5, "b": 2.0})
    return model


@entry(data=vectors)
def clipped_by_value():
    return _dense(optimizer=keras.optimizers.Adam(0.01, clipvalue=0.01), loss="mse")


@entry(data=vectors)
def clipped_by_global_norm():
    return _dense(optimizer=keras.optimizers.Adam(0.01, global_clipnorm=0.05), loss="mse")


@entry(data=vectors)
def averaged_weights():
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3)
    return _dense(optimizer=optimizer, loss="mse")


@entry(data=vectors)
def decayed_weights():
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return _dense(optimizer=optimizer, loss="mse")


@entry(data=vectors)
def several_optimizers_in_one():
    small, large = keras.optimizers.SGD(0.01, clipnorm=0.1), keras.optimizers.Adam(0.05)
    chosen = keras.optimizers.OptimizerMap(large, {".*bias": small})
    return _dense(optimizer=keras.optimizers.MultiOptimizer(chosen), loss="mse")


@entry(data=images)
def transfer_learning():
    backbone = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
        ]
    )
    backbone.trainable = False
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dense(4)(backbone(inputs, training=False)))
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


@entry(data=images)
def low_rank_adaptation():
    dense = layers.Dense(16, "relu")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), dense, layers.Dense(4)])
    dense.enable_lora(2)
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


@entry(data=lambda size, g: (images(size, g)[0], (g.uniform(size=(size, 5)) < 0.3).astype("f")))
def several_labels():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(5, "sigmoid")])
    model.compile(
        keras.optimizers.SGD(0.01),
        "binary_crossentropy",
        metrics=["auc", "precision", "recall", keras.metrics.F1Score(average="micro")],
    )
    return model


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)


@entry(data=vectors)
def loss_of_an_own_class():
    return _dense(loss=OwnLoss(reduction="sum_over_batch_size"))


class Scaled(layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(3)

    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones", name="factor")
        self.largest = self.add_weight(shape=(), trainable=False, name="largest")
        self.inner.build(shape)

    def call(self, x):
        self.add_loss(0.1 * ops.mean(ops.square(x)) * self.factor)
        return self.inner(x) * self.factor


@entry(data=vectors)
def layer_with_a_loss():
    model = keras.Sequential([keras.Input((6,)), Scaled()])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


# What several layers do to each other the small models show; tracing hundreds takes half a minute.
LARGEST = ((2, 2),)


def _application(make, **settings):
    backbone = make(weights=None, include_top=False, pooling="avg", **settings)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False  # with statistics of its batch each replica would differ
        elif isinstance(layer, layers.Dropout):
            layer.rate = 0.0  # and so with random numbers of its own
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, layers.Dense(4)(backbone(inputs)))
    model.compile(
        keras.optimizers.SGD(0.001), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def _photographs(size, generator):
    x, labels = images(size, generator)
    return np.clip(127 + 40 * x.repeat(4, 1).repeat(4, 2), 0, 255).astype(np.float32), labels


@entry(data=_photographs, shapes=LARGEST)
def mobile_net():
    return _application(keras.applications.MobileNetV3Small, input_shape=(32, 32, 3))


@entry(data=_photographs, shapes=LARGEST)
def efficient_net():
    return _application(keras.applications.EfficientNetB0, input_shape=(32, 32, 3))
