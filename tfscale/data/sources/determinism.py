"""Random numbers that an example may not depend on: those that every process counts for itself.

What `preprocess` draws as usual is each example's own (`own_draws`). What is left in a graph after
that, and what a `load` draws, would be the same numbers for other examples on every worker: such
operations are found in the graph and refused. What TensorFlow can't look into (`tf.py_function`,
`tf.numpy_function`) is called twice for the same examples instead.
"""

import contextlib
import itertools
import random
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.structures import Foreign, Structure

_OPAQUE = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
# Of tf.random.Generator, whose numbers are no function of a seed that it is given. Stateful
# operations of the older kind are told by their attributes `seed` and `seed2`.
_OF_GENERATORS = (
    *("NonDeterministicInts", "RngSkip", "RngReadAndSkip", "StatefulRandomBinomial"),
    *("StatefulStandardNormal", "StatefulStandardNormalV2", "StatefulTruncatedNormal"),
    *("StatefulUniform", "StatefulUniformFullInt", "StatefulUniformInt"),
)
_WORKS = (
    "Write preprocess(record, training, seed), and for example "
    "tf.image.stateless_random_flip_left_right(image, seed)"
)


def require_no_draws(call: str, dataset: tf.data.Dataset) -> None:
    """Refuses stateful random numbers in the functions that a dataset is made by.

    Args:
        call: what of the user's makes it, for the message.
        dataset: not yet read.

    Raises:
        ConfigError: it has such an operation, which is named.
    """
    for node in _nodes_of(dataset):
        if {"seed", "seed2"} <= set(node.attr) or node.op in _OF_GENERATORS:
            raise ConfigError(
                f"{call} draws random numbers with {_named(node)}, of which every worker gives "
                "the same ones to other examples; expected numbers that each example's own seed "
                f"decides. {_WORKS}."
            )
        if node.op == "Timestamp":
            raise ConfigError(
                f"{call} reads the clock with {_named(node)}, which shows another time for every "
                f"example and run; expected what the record and its own seed decide. {_WORKS}."
            )
        if node.op.startswith(("Assign", "ResourceScatter")):
            raise ConfigError(
                f"{call} changes a variable with {_named(node)}, as Keras's random layers and "
                "keras.random do, and every worker has one of its own; expected numbers that "
                f"each example's own seed decides. {_WORKS}, or put the layer into the model."
            )


def is_opaque(dataset: tf.data.Dataset, *, deep: bool = False) -> bool:
    """Whether the last function of a dataset, or any of them, is Python that can't be seen."""
    return any(node.op in _OPAQUE for node in _nodes_of(dataset, deep=deep))


def require_same_twice(call: str, once: Structure, again: Structure) -> None:
    """Refuses an example that was made twice of one record and differs.

    Raises:
        ConfigError: it does.
    """
    pairs = zip(tf.nest.flatten(once), tf.nest.flatten(again), strict=True)
    if any(_bytes_of(one) != _bytes_of(other) for one, other in pairs):
        raise ConfigError(
            f"{call} gives another example each time for the same record and seed, by what it "
            "does in tf.py_function or tf.numpy_function; expected the same. Write "
            "preprocess(record, training, seed), give the seed to that function, and draw with "
            "np.random.default_rng(seed)."
        )


@contextlib.contextmanager
def no_python_draws(call: str) -> Iterator[None]:
    """Refuses a body in which the global generators of Python or NumPy are drawn from.

    What is drawn while a function is traced is the same number for every example; what is drawn
    while it runs depends on which thread came first.

    Raises:
        ConfigError: it did.
    """
    before = _python_states()
    yield
    for name, state in _python_states().items():
        if state != before[name]:
            raise ConfigError(
                f"{call} draws from {name}, which isn't asked again for each example or gives the "
                "same to other examples on every worker; expected numbers that each example's own "
                f"seed decides. {_WORKS}."
            )


def _nodes_of(dataset: tf.data.Dataset, *, deep: bool = True) -> Iterator[Foreign]:
    """Every operation in the functions of a dataset, and of those that it is made of."""
    for function in dataset._functions():  # noqa: SLF001 - tf.data has no way to ask
        # A function that it calls, such as a branch or a @tf.function, is in the same library.
        graph = function.function.graph.as_graph_def()
        yield from graph.node
        yield from itertools.chain(*(inner.node_def for inner in graph.library.function))
    for beneath in dataset._inputs() if deep else ():  # noqa: SLF001 - likewise
        yield from _nodes_of(beneath)


def _named(node: Foreign) -> str:
    """An operation, and its name, in which TensorFlow keeps the function that made it."""
    return node.op if node.op == node.name else f"{node.op} ({node.name})"


def _bytes_of(leaf: tf.Tensor) -> bytes:
    serialized: bytes = tf.io.serialize_tensor(leaf).numpy()
    return serialized


def _python_states() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state()
    return {
        "Python's random": random.getstate(),
        "numpy.random": (kind, np.asarray(keys).tobytes(), *rest),
    }
