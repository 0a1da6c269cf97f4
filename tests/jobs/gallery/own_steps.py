"""Models whose classes bring steps, losses or metrics of their own, as Keras's guides do."""

import keras
import tensorflow as tf
from keras import layers, ops

from tests.jobs.gallery.entry import classes, entry, images, vectors


def _body(model):
    model.first, model.second = layers.Dense(8, "tanh"), layers.Dense(3)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        _body(self)

    def call(self, x):
        return self.second(self.first(x))


def _compiled(model, **settings):
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1, momentum=0.9), **settings})
    return model


@entry(data=vectors)
def subclassed():
    return _compiled(Subclassed(), loss="mse", metrics=["mae"])


@entry(data=vectors)
def step_of_the_guide():
    class Model(Subclassed):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    return _compiled(Model(), loss="mse", metrics=["mae"])


@entry(data=vectors)
def step_with_own_trackers():
    class Model(Subclassed):
        def __init__(self):
            super().__init__()
            self.loss_tracker = keras.metrics.Mean(name="loss")
            self.mae_metric = keras.metrics.MeanAbsoluteError(name="mae")
            self.loss_fn = keras.losses.MeanSquaredError()

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.loss_fn(y, y_pred)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply(gradients, self.trainable_weights)
            self.loss_tracker.update_state(loss)
            self.mae_metric.update_state(y, y_pred)
            return {"loss": self.loss_tracker.result(), "mae": self.mae_metric.result()}

        def test_step(self, data):
            x, y = data
            y_pred = self(x, training=False)
            self.loss_tracker.update_state(self.loss_fn(y, y_pred))
            self.mae_metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

        @property
        def metrics(self):
            return [self.loss_tracker, self.mae_metric]

    return _compiled(Model())


@entry(data=vectors)
def loss_by_hand_and_regularization():
    class Model(Subclassed):
        def __init__(self):
            super().__init__()
            self.second = layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1))

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred)) + sum(self.losses)

    return _compiled(Model())


@entry(data=vectors)
def step_with_a_mean_by_hand():
    class Model(Subclassed):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(y - self(x, training=True)))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"own_loss": loss}

    return _compiled(Model(), loss="mse")


@entry(data=vectors, of_last_batch=("val_psnr", "val_error"))
def test_step_that_returns_numbers():
    class Model(Subclassed):
        def test_step(self, data):
            x, y = data
            error = ops.mean(ops.square(y - self(x, training=False)))
            return {"psnr": -10.0 * ops.log10(error), "error": error}

    return _compiled(Model(), loss="mse")


@entry(data=vectors)
def step_of_tensorflows_tutorial():
    class Model(Subclassed):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                errors = tf.reduce_mean(tf.square(y - self(x, training=True)), axis=-1)
                loss = tf.nn.compute_average_loss(errors, global_batch_size=16)
                loss += tf.nn.scale_regularization_loss([tf.reduce_sum(self.second.kernel**2)])
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"own_loss": loss}

    return _compiled(Model(), loss="mse")


class Variational(keras.Model):
    """Keras's guide to variational autoencoders, with a noise that is a function of x."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = layers.Dense(4), layers.Dense(6)
        self.total = keras.metrics.Mean(name="total_loss")
        self.kl = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.total, self.kl]

    def train_step(self, data):
        x = data[0] if isinstance(data, tuple) else data
        with tf.GradientTape() as tape:
            mean, log_variance = ops.split(self.encoder(x), 2, axis=-1)
            z = mean + ops.exp(0.5 * log_variance) * ops.sin(100 * x[:, :2])
            reconstruction = ops.mean(ops.sum(ops.square(x - self.decoder(z)), axis=-1))
            kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
            kl = ops.mean(ops.sum(kl, axis=1))
            total = reconstruction + kl
        gradients = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.total.update_state(total)
        self.kl.update_state(kl)
        return {"total_loss": self.total.result(), "kl_loss": self.kl.result()}

    def test_step(self, data):
        x = data[0] if isinstance(data, tuple) else data
        mean, _ = ops.split(self.encoder(x), 2, axis=-1)
        self.total.update_state(ops.mean(ops.square(x - self.decoder(mean))))
        return {"total_loss": self.total.result()}


@entry(data=vectors)
def variational_autoencoder():
    return _compiled(Variational(), optimizer=keras.optimizers.Adam(0.01))


class Adversarial(keras.Model):
    """Keras's guide to GANs, with a noise that is a function of x."""

    def __init__(self):
        super().__init__()
        self.discriminator = keras.Sequential([layers.Dense(8, "tanh"), layers.Dense(1)])
        self.generator = keras.Sequential([layers.Dense(8, "tanh"), layers.Dense(6)])
        self.d_loss = keras.metrics.Mean(name="d_loss")
        self.g_loss = keras.metrics.Mean(name="g_loss")

    @property
    def metrics(self):
        return [self.d_loss, self.g_loss]

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

    def train_step(self, data):
        real = data[0]
        noise = ops.sin(100 * real[:, :3])
        labels = ops.concatenate([ops.ones_like(real[:, :1]), ops.zeros_like(real[:, :1])], axis=0)
        fake = self.generator(noise)
        with tf.GradientTape() as tape:
            predicted = self.discriminator(ops.concatenate([fake, real], axis=0))
            d_loss = self.loss_fn(labels, predicted)
        grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply(grads, self.discriminator.trainable_weights)
        with tf.GradientTape() as tape:
            predicted = self.discriminator(self.generator(noise))
            g_loss = self.loss_fn(ops.zeros_like(real[:, :1]), predicted)
        grads = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply(grads, self.generator.trainable_weights)
        self.d_loss.update_state(d_loss)
        self.g_loss.update_state(g_loss)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}

    def test_step(self, data):
        predicted = self.discriminator(data[0])
        self.d_loss.update_state(ops.mean(predicted))
        return {"d_loss": self.d_loss.result()}


@entry(data=vectors)
def adversarial_pair():
    model = Adversarial()
    model.compile(
        keras.optimizers.Adam(0.01, clipnorm=0.01),
        keras.optimizers.Adam(0.02),
        keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


@entry(data=images)
def siamese_with_triplets():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding = keras.Sequential([layers.Flatten(), layers.Dense(8)])
            self.loss_tracker = keras.metrics.Mean(name="loss")

        def call(self, x):
            anchor, positive = self.embedding(x), self.embedding(x[:, ::-1])
            negative = self.embedding(x[:, :, ::-1] * 0.5)
            near = ops.sum(ops.square(anchor - positive), -1)
            return near, ops.sum(ops.square(anchor - negative), -1)

        def train_step(self, data):
            with tf.GradientTape() as tape:
                loss = self._loss_of(data)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            self.loss_tracker.update_state(loss)
            return {"loss": self.loss_tracker.result()}

        def test_step(self, data):
            self.loss_tracker.update_state(self._loss_of(data))
            return {"loss": self.loss_tracker.result()}

        def _loss_of(self, data):
            near, far = self(data[0])
            return ops.mean(ops.maximum(near - far + 0.5, 0.0))

        @property
        def metrics(self):
            return [self.loss_tracker]

    return _compiled(Model(), optimizer=keras.optimizers.SGD(0.001), loss=None)


class Largest(keras.metrics.Metric):
    """A metric whose state is a maximum."""

    def __init__(self, name="largest"):
        super().__init__(name=name)
        self.value = self.add_weight(name="value", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.value.assign(ops.maximum(self.value, ops.max(ops.abs(y_pred))))

    def result(self):
        return ops.add(self.value, 0.0)


class Smallest(Largest):
    """A metric whose state is a minimum."""

    def __init__(self):
        super().__init__("smallest")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.value.assign(ops.minimum(self.value, ops.min(y_pred)))


@entry(data=vectors)
def metrics_of_extremes():
    return _compiled(Subclassed(), loss="mse", metrics=[Largest(), Smallest()])


@entry(data=classes)
def metric_built_at_its_first_update():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4, "softmax")
            self.f1 = keras.metrics.F1Score(average="macro", name="f1")

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            self.f1.update_state(ops.one_hot(y, 4), y_pred)
            return {"f1": self.f1.result(), "own_loss": loss}

    return _compiled(Model(), loss="sparse_categorical_crossentropy")


class Noisy(layers.Layer):
    """A layer that keeps statistics of its own, in its own way."""

    def build(self, shape):
        self.seen = self.add_weight(shape=(shape[-1],), trainable=False, name="seen")
        self.steps = self.add_weight(shape=(), trainable=False, name="steps")

    def call(self, x, training=False):
        if training:
            self.seen.assign(0.9 * self.seen + 0.1 * ops.mean(x, axis=0))
            self.steps.assign_add(1.0)
        return x - self.seen


@entry(data=vectors, is_of_replicas=True)
def own_statistics():
    model = keras.Sequential([keras.Input((6,)), Noisy(), layers.Dense(3)])
    return _compiled(model, loss="mse")


@entry(data=vectors, of_last_batch=("val_error",))
def own_compute_metrics():
    class Model(Subclassed):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            results = super().compute_metrics(x, y, y_pred, sample_weight)
            return {**results, "error": ops.mean(ops.abs(y - y_pred))}

    return _compiled(Model(), loss="mse", metrics=["mae"])
