"""An accelerator that isn't there: layers that wait as long as a profile says.

The processor is as free meanwhile as a GPU's host is; the weights, their gradients, the buckets
and the links are real. A gradient exists when its layer's backward time has passed, last layer
first.
"""

import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.data.experimental.ops import testing

from tfscale.gradients.timing import time_of
from tfscale.structures import Foreign
from tools.profiles.profile import LayerProfile, Profile


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


class Clock:
    """When the layers were done in the last step, on one replica.

    Args:
        layers: how many there are.
    """

    def __init__(self, layers: int) -> None:
        self.start = _own_time()
        self.forward = [_own_time() for _ in range(layers)]
        self.backward = [_own_time() for _ in range(layers)]

    @staticmethod
    def mark(time: tf.Variable, tensor: tf.Tensor) -> tf.Tensor:
        """The same tensor; writes down when it was there, as seconds since 1970."""
        with tf.control_dependencies([tensor]):
            written = time.assign(time_of(tensor))
        with tf.control_dependencies([written]):
            return tf.identity(tensor)

    def times(self) -> dict[str, Any]:
        """What was written down: `start`, and lists `forward` and `backward` by layer."""
        return {
            "start": float(self.start.numpy()),
            "forward": [float(time.numpy()) for time in self.forward],
            "backward": [float(time.numpy()) for time in self.backward],
        }


def _own_time() -> tf.Variable:
    return tf.Variable(
        tf.zeros([], tf.float64),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


class LayerTimes:
    """One layer's delays, and where it writes down when they were over."""

    def __init__(self, layer: LayerProfile, number: int, clock: Clock | None) -> None:
        self._delays = Delay(layer.forward_ms), Delay(layer.backward_ms)
        self._number, self._clock = number, clock

    def forward(self, tensor: tf.Tensor) -> tf.Tensor:
        """The same tensor after the forward time."""
        if self._clock and self._number == 0:
            tensor = self._clock.mark(self._clock.start, tensor)
        later = self._delays[0].after(tensor)
        clock = self._clock
        return clock.mark(clock.forward[self._number], later) if clock else later

    def backward(self, tensor: tf.Tensor) -> tf.Tensor:
        """The same tensor after the backward time."""
        later = self._delays[1].after(tensor)
        clock = self._clock
        return clock.mark(clock.backward[self._number], later) if clock else later


def waiting(x: tf.Tensor, weights: Sequence[tf.Tensor], times: LayerTimes) -> tf.Tensor:
    """Gives `x` after the forward time; in backward, gradients after the backward time.

    Args:
        x: float32 (examples, 1).
        weights: of the layer; each gradient has the shape of its weight.
        times: of the layer.
    """

    @tf.custom_gradient
    def run(x: tf.Tensor, *weights: tf.Tensor) -> Foreign:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            ready = times.backward(upstream)
            value = tf.reduce_mean(ready)
            return ready, *(tf.fill(weight.shape, value) for weight in weights)

        return times.forward(x), gradient

    return run(x, *weights)


class Waiting:
    """The workload of a profile.

    Args:
        profile: names, shapes and times of the layers.
        is_timed: whether the model writes down when its layers were done, in `clock`; for one
            replica a process.
    """

    loss = "mse"

    def __init__(self, profile: Profile, *, is_timed: bool = False) -> None:
        """Holds the profile; `clock` is there once the model is."""
        self.profile = profile
        self.name, self.examples_per_step = profile.name, profile.examples_per_step
        self.clock: Clock | None = None
        self._is_timed = is_timed

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels of one replica's step, float32 (examples, 1) each."""
        shape = (self.examples_per_step, 1)
        return np.ones(shape, np.float32), np.zeros(shape, np.float32)

    def _times(self) -> list[LayerTimes]:
        if self._is_timed:
            self.clock = Clock(len(self.profile.layers))
        return [LayerTimes(layer, n, self.clock) for n, layer in enumerate(self.profile.layers)]

    def keras_model(self, keras: ModuleType) -> Foreign:
        """A model of waiting layers that maps float32 (examples, 1) to the same."""

        class Layer(keras.layers.Layer):  # type: ignore[name-defined]
            def __init__(self, layer: LayerProfile, times: LayerTimes) -> None:
                super().__init__(name=layer.name, dtype="float32")
                self._shapes, self._times = layer.shapes, times

            def build(self, shape: Foreign) -> None:
                self._of_profile = [
                    self.add_weight(name=f"weight_{n}", shape=own, initializer="zeros")
                    for n, own in enumerate(self._shapes)
                ]
                self.built = True

            def call(self, x: tf.Tensor) -> tf.Tensor:
                return waiting(x, [tf.convert_to_tensor(w) for w in self._of_profile], self._times)

        inputs = keras.Input((1,))
        x = inputs
        for layer, times in zip(self.profile.layers, self._times(), strict=True):
            x = Layer(layer, times)(x)
        return keras.Model(inputs, x)

    def plain(self) -> tuple[list[tf.Variable], Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
        """The same without Keras."""
        layers = [[tf.Variable(tf.zeros(s)) for s in own.shapes] for own in self.profile.layers]
        times = self._times()

        def loss(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            for weights, of_layer in zip(layers, times, strict=True):
                x = waiting(x, [tf.convert_to_tensor(weight) for weight in weights], of_layer)
            return tf.reduce_mean((x - y) ** 2)

        return [variable for layer in layers for variable in layer], loss

    def torch_model(self) -> tuple[Any, Any]:
        """The same in PyTorch."""
        import torch

        class Wait(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Foreign, x: Foreign, layer: Foreign, *weights: Foreign) -> Foreign:
                ctx.layer, ctx.shapes = layer, [weight.shape for weight in weights]
                time.sleep(layer.forward_ms / 1000)
                return x.clone()

            @staticmethod
            def backward(ctx: Foreign, *upstream: Foreign) -> Foreign:
                time.sleep(ctx.layer.backward_ms / 1000)
                value = upstream[0].mean().item()
                return upstream[0], None, *(torch.full(shape, value) for shape in ctx.shapes)

        class Layer(torch.nn.Module):
            def __init__(self, layer: LayerProfile) -> None:
                super().__init__()
                self.layer = layer
                self.own = torch.nn.ParameterList([torch.zeros(shape) for shape in layer.shapes])

            def forward(self, x: Foreign) -> Foreign:
                return Wait.apply(x, self.layer, *self.own)

        modules = [Layer(layer) for layer in self.profile.layers]
        return torch.nn.Sequential(*modules), torch.nn.functional.mse_loss
