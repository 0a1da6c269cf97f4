"""Random numbers of the usual kind, drawn in `preprocess`, by each example's own seed.

TensorFlow's stateful random operations (`tf.random.uniform`, `tf.image.random_*`), and Keras's
random layers, draw the next number of a sequence. All workers start it at the same seed, so that
they give the same numbers to different examples; on one worker it depends on which thread came
first which example gets which number. While `preprocess` is traced, the stateless operation of the
same distribution takes the place of each, with a seed that the example's decides. Within a loop or
a `tf.function` all passes would get one number: there they stay what they are, and are refused
(`determinism`), as is what has no stateless operation, such as `tf.random.Generator`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import random_seed
from tensorflow.python.ops import gen_image_ops, gen_random_ops
from tensorflow.python.ops.control_flow_v2_func_graphs import CondBranchFuncGraph

from tfscale.data.augment.draws import derived
from tfscale.structures import Foreign

Seeded = Callable[..., Any]  # draws with a seed, int32 (2,), as its first argument


class OwnDraws:
    """Lets what `preprocess` draws be decided by the seed of its example.

    Attributes:
        are_there: whether anything was drawn, which shows when it has been traced.
    """

    def __init__(self) -> None:
        """Nothing is drawn yet."""
        self.are_there = False

    @contextlib.contextmanager
    def by(self, make_seed: Callable[[], tf.Tensor]) -> Iterator[None]:
        """A body that traces a function of one example.

        What has a seed of its own, as an argument of the operation or of the layer, draws the same
        as all others that have it, so that an image and its mask are turned alike.

        Args:
            make_seed: gives the example's seed, int32 (2,); called if anything is drawn.
        """
        if tf.executing_eagerly():
            yield
            return
        trace = _Trace(tf.compat.v1.get_default_graph(), make_seed)
        with contextlib.ExitStack() as stack:
            for module, name, seeded in _OPERATIONS:
                own = trace.operation(getattr(module, name), seeded)
                stack.enter_context(_replaced(module, name, own))
            get_seed = trace.numbered(random_seed.get_seed)
            stack.enter_context(_replaced(random_seed, "get_seed", get_seed))
            following = trace.following(keras.random.SeedGenerator.next)
            stack.enter_context(_replaced(keras.random.SeedGenerator, "next", following))
            yield
        self.are_there = self.are_there or trace.num_drawn > 0


@dataclass
class _Generator:
    """Keras's, kept so that no other can get its identity, and how often it was asked."""

    generator: Foreign
    name: str
    num_drawn: int = 0


class _Trace:
    """One trace of `preprocess`: what was drawn in it so far."""

    def __init__(self, graph: tf.Graph, make_seed: Callable[[], tf.Tensor]) -> None:
        self.num_drawn = 0
        self._graph, self._make_seed = graph, make_seed
        self._seed: tf.Tensor | None = None
        self._generators: dict[int, _Generator] = {}

    def operation(self, original: Foreign, seeded: Seeded) -> Foreign:
        """The seeded one in place of the original, where that can be."""

        def call(
            *args: Foreign, seed: Foreign = 0, seed2: Foreign = 0, **kwargs: Foreign
        ) -> Foreign:
            if not self._is_here:
                return original(*args, seed=seed, seed2=seed2, **kwargs)
            purpose = f"seed {seed2}" if seed else f"number {self.num_drawn}"
            return seeded(self._own(purpose), *args, **kwargs)

        return call

    def numbered(self, original: Foreign) -> Foreign:
        """What tells the seeds that users gave from those that TensorFlow counts."""

        def get_seed(op_seed: int | None) -> tuple[int, int]:
            if not self._is_here:
                return original(op_seed)  # type: ignore[no-any-return]
            return (0, 0) if op_seed is None else (1, op_seed)

        return get_seed

    def following(self, original: Foreign) -> Foreign:
        """A generator's next seed, which counts anew for each example."""

        def following(generator: Foreign, ordered: bool = True) -> tf.Tensor:
            if not self._is_here:
                return original(generator, ordered)
            given, number = generator.get_config()["seed"], len(self._generators)
            name = f"generator {number}" if given is None else f"seed {given}"
            known = self._generators.setdefault(id(generator), _Generator(generator, name))
            known.num_drawn += 1
            return self._own(f"keras {known.name} {known.num_drawn}")

        return following

    @property
    def _is_here(self) -> bool:
        """Whether what is traced now runs once for each example: the function, or its branches."""
        graph = tf.compat.v1.get_default_graph()
        while isinstance(graph, CondBranchFuncGraph):
            graph = graph.outer_graph
        return graph is self._graph

    def _own(self, purpose: str) -> tf.Tensor:
        self.num_drawn += 1
        if self._seed is None:
            with self._graph.as_default(), tf.control_dependencies(None):
                self._seed = self._make_seed()
        return derived(self._seed, purpose)


def _of_parameters(draw: Foreign) -> Seeded:
    """Of a distribution whose parameters are a tensor: so many numbers of each of them."""

    def seeded(
        seed: tf.Tensor, shape: Foreign, parameters: Foreign, dtype: Foreign = None, name: str = ""
    ) -> tf.Tensor:
        del name
        parameters = tf.convert_to_tensor(parameters)
        whole = tf.concat([tf.cast(shape, tf.int32), tf.shape(parameters)], 0)
        return draw(whole, seed, parameters, dtype or parameters.dtype)

    return seeded


def _uniform(seed: tf.Tensor, shape: Foreign, dtype: Foreign, name: Foreign = None) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, seed, dtype=dtype, name=name)


def _uniform_int(
    seed: tf.Tensor, shape: Foreign, minval: Foreign, maxval: Foreign, name: Foreign = None
) -> tf.Tensor:
    dtype = tf.convert_to_tensor(minval).dtype
    return tf.random.stateless_uniform(shape, seed, minval, maxval, dtype, name)


def _normal(seed: tf.Tensor, shape: Foreign, dtype: Foreign, name: Foreign = None) -> tf.Tensor:
    return tf.random.stateless_normal(shape, seed, dtype=dtype, name=name)


def _truncated(seed: tf.Tensor, shape: Foreign, dtype: Foreign, name: Foreign = None) -> tf.Tensor:
    return tf.random.stateless_truncated_normal(shape, seed, dtype=dtype, name=name)


def _parameterized(
    seed: tf.Tensor, shape: Foreign, *parameters: Foreign, name: Foreign = None
) -> tf.Tensor:
    draw = tf.random.stateless_parameterized_truncated_normal
    return draw(shape, seed, *parameters, name=name)


def _shuffled(seed: tf.Tensor, value: Foreign, name: Foreign = None) -> tf.Tensor:
    return tf.random.experimental.stateless_shuffle(value, seed, name=name)


def _categorical(
    seed: tf.Tensor,
    logits: Foreign,
    num_samples: Foreign,
    output_dtype: Foreign = tf.int64,
    name: Foreign = None,
) -> tf.Tensor:
    return tf.random.stateless_categorical(logits, num_samples, seed, output_dtype, name)


def _gamma(shape: Foreign, seed: tf.Tensor, alpha: Foreign, dtype: Foreign) -> tf.Tensor:
    return tf.random.stateless_gamma(shape, seed, alpha, dtype=dtype)


def _poisson(shape: Foreign, seed: tf.Tensor, rate: Foreign, dtype: Foreign) -> tf.Tensor:
    return tf.random.stateless_poisson(shape, seed, rate, dtype)


def _box(
    seed: tf.Tensor, image_size: Foreign, bounding_boxes: Foreign, **kwargs: Foreign
) -> Foreign:
    return gen_image_ops.stateless_sample_distorted_bounding_box(
        image_size=image_size, bounding_boxes=bounding_boxes, seed=seed, **kwargs
    )


# Where TensorFlow's functions find the stateful operations, and what draws the same with a seed.
_OPERATIONS: tuple[tuple[Any, str, Seeded], ...] = (
    (gen_random_ops, "random_uniform", _uniform),
    (gen_random_ops, "random_uniform_int", _uniform_int),
    (gen_random_ops, "random_standard_normal", _normal),
    (gen_random_ops, "truncated_normal", _truncated),
    (gen_random_ops, "parameterized_truncated_normal", _parameterized),
    (gen_random_ops, "random_shuffle", _shuffled),
    (gen_random_ops, "multinomial", _categorical),
    (gen_random_ops, "random_gamma", _of_parameters(_gamma)),
    (gen_random_ops, "random_poisson_v2", _of_parameters(_poisson)),
    (gen_image_ops, "sample_distorted_bounding_box_v2", _box),
)


@contextlib.contextmanager
def _replaced(owner: Foreign, name: str, function: Foreign) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, original)
