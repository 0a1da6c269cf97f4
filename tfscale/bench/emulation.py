"""An accelerator that isn't there: layers that wait instead of computing.

The processor is as free meanwhile as a GPU's host is; the weights, their gradients, the buckets
and the links are real. A gradient exists when its layer's backward time has passed, last layer
first.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import tensorflow as tf
from tensorflow.python.data.experimental.ops import testing

from tfscale.bench.profile import LayerProfile, Profile


class Delay:
    """Time that passes on the way of a tensor, without a thread that computes or blocks.

    An iterator of TensorFlow's own sleeping dataset: it waits in C++, outside of the pool that runs
    operations, where a sleep in Python would hold one of its threads.

    Args:
        milliseconds: how long; 0 adds nothing to the graph.
    """

    def __init__(self, milliseconds: float) -> None:
        """Makes the iterator, outside of any graph."""
        self._iterator = None
        if milliseconds > 0:
            options = tf.data.Options()
            options.autotune.enabled = False
            endless = tf.data.Dataset.from_tensors(0).repeat()
            waiting = endless.apply(testing.sleep(int(1000 * milliseconds)))
            with tf.init_scope(), tf.device("CPU:0"):
                self._iterator = iter(waiting.with_options(options))

    def after(self, tensor: tf.Tensor) -> tf.Tensor:
        """The same tensor, later."""
        if self._iterator is None:
            return tensor
        with tf.control_dependencies([tensor]):
            waited = self._iterator.get_next()
        with tf.control_dependencies([waited]):
            return tf.identity(tensor)


def waiting(x: tf.Tensor, weights: Sequence[tf.Tensor], forward: Delay, backward: Delay) -> Any:  # noqa: ANN401
    """Gives `x` after the forward time; in backward, gradients after the backward time.

    Args:
        x: float32 (examples, 1).
        weights: of the layer; each gradient has the shape of its weight.
        forward: time of forward.
        backward: time of backward.
    """

    @tf.custom_gradient
    def run(x: tf.Tensor, *weights: tf.Tensor) -> Any:  # noqa: ANN401
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            ready = backward.after(upstream)
            value = tf.reduce_mean(ready)
            return ready, *(tf.fill(weight.shape, value) for weight in weights)

        return forward.after(x), gradient

    return run(x, *weights)


def build_model(profile: Profile, keras: ModuleType) -> Any:  # noqa: ANN401
    """A model of waiting layers, for `keras` (3) or `tf_keras` (2), uncompiled.

    It maps float32 (examples, 1) to the same.
    """

    class Waiting(keras.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self, layer: LayerProfile) -> None:
            super().__init__(name=layer.name, dtype="float32")
            self._shapes = layer.shapes
            self._forward, self._backward = Delay(layer.forward_ms), Delay(layer.backward_ms)

        def build(self, shape: Any) -> None:  # noqa: ANN401
            self._weights_of_profile = [
                self.add_weight(name=f"weight_{number}", shape=own, initializer="zeros")
                for number, own in enumerate(self._shapes)
            ]
            self.built = True

        def call(self, x: tf.Tensor) -> tf.Tensor:
            weights = [tf.convert_to_tensor(weight) for weight in self._weights_of_profile]
            return waiting(x, weights, self._forward, self._backward)

    inputs = keras.Input((1,))
    x = inputs
    for layer in profile.layers:
        x = Waiting(layer)(x)
    return keras.Model(inputs, x, name=profile.name.replace("*", "_"))


def examples(profile: Profile) -> tuple[tf.Tensor, tf.Tensor]:
    """Features and labels of one replica's step, float32 (examples, 1) each."""
    return tf.ones([profile.examples_per_step, 1]), tf.zeros([profile.examples_per_step, 1])
