"""The live iterators of a job: one for each input, from its first batch to the last."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops

from tfscale.data.examples.bad_examples import BadExamples
from tfscale.data.sources.stream_order import OrderWatch
from tfscale.structures import Foreign, Spec, Structure


def _unknown(step: int) -> Exception | None:
    del step
    return None


@dataclass(kw_only=True)
class Input:
    """The batches of this worker, over and over from one live iterator.

    Deleting a tf.data iterator can block for seconds, and making one costs a call on every worker,
    so there is one for the whole job.

    Args:
        make: gives this worker's endless dataset of replica batches, replica by replica, from a
            step of the run on, counted from 0; an evaluation always begins with its first one.
        strategy: whose replicas take them.
        steps: global batches until all examples have been seen; None for a stream whose end
            only shows when it comes.
        spec: structure, shapes (replica batch first) and dtypes of one replica's `(x, y[, w])`.
        description: what each worker reads, for the plan.
        num_examples: in one pass, or None.
        checksum: of the records in their order, or None for a stream.
        is_evaluation: whether its elements are `(index, example)`, each example once.
        first: a few real examples from the beginning of the split, stacked, the same on every
            worker; None for given data.
        is_alone: whether this worker's replicas take all of it, and no other worker takes part.
        order: adds up what this worker reads, which must be the same on all; None where nothing is
            to be compared.
        bad: the records that this worker couldn't make examples of; None for given data.
        why: an error that says of which record no example can be made, searching from a step of
            the run on; None where it finds none.
        stages: datasets of this worker, each of all stages of making batches up to its own, with
            how many examples each of their elements has.
        first_step: the step of the run that the next iterator begins with.
        iterator: the live one, once there is one.
    """

    make: Callable[[int], tf.data.Dataset]
    strategy: tf.distribute.Strategy
    steps: int | None
    spec: Spec
    description: str
    num_examples: int | None
    checksum: int | None
    is_evaluation: bool
    first: Structure = None
    is_alone: bool = False
    order: OrderWatch | None = None
    bad: BadExamples | None = None
    why: Callable[[int], Exception | None] = _unknown
    stages: Callable[[], dict[str, tuple[tf.data.Dataset, int]]] = dict
    first_step: int = 0
    iterator: Foreign = field(default=None, init=False)

    @tf.autograph.experimental.do_not_convert  # the user's functions come converted
    def start(self) -> None:
        """Makes the live iterator, if there is none or the last one was stopped half-way."""
        if self.iterator is None:
            if _has_one_cpu(self.strategy):
                # Where nothing has to be copied to a device or dealt out, a plain iterator does:
                # a step of 0.13 ms would wait 0.2 ms for TensorFlow's distributed one.
                self.iterator = iter(self.make(self.first_step))
                return
            # Inside the strategy's scope a second application would nest; it needs none.
            distributed = self.strategy.distribute_datasets_from_function(
                lambda _: self.make(self.first_step)
            )
            with _no_autotune_on_devices():
                self.iterator = iter(distributed)

    def rewind(self) -> None:
        """Starts over with the next `start`."""
        self.iterator = None

    def seek(self, step: int) -> None:
        """Goes on with a step of the run, on any number of workers: the next `start` begins there.

        With the seed and the size of the global batch, the number of the step is the position.

        Args:
            step: how many steps were taken before it.
        """
        self.first_step = step
        self.rewind()


def next_of(iterator: Foreign) -> Foreign:
    """The next element of an `Input`'s iterator, in a function that TensorFlow traces.

    A plain iterator is asked on the thread that runs the step: handing the question to another
    one, as `get_next` does, takes 50 us, of which a short step has none to spare. The thread is
    missed by nobody, because an input is made by threads of its own.
    """
    if not isinstance(iterator, tf.data.Iterator):
        return iterator.get_next()
    spec = iterator.element_spec
    leaves = tf.nest.flatten(spec)
    (handle,) = tf.nest.flatten(iterator, expand_composites=True)
    components = tf.raw_ops.IteratorGetNextSync(
        iterator=handle,
        output_types=[leaf.dtype for leaf in leaves],
        output_shapes=[leaf.shape for leaf in leaves],
    )
    return tf.nest.pack_sequence_as(spec, components)


def _has_one_cpu(strategy: tf.distribute.Strategy) -> bool:
    """Whether this worker's only device is the one that makes the batches."""
    if not tf.distribute.has_strategy() and strategy is tf.distribute.get_strategy():
        return True  # the default one, which doesn't know its devices
    devices = strategy.extended.worker_devices
    return len(devices) == 1 and "CPU" in devices[0]


@contextlib.contextmanager
def _no_autotune_on_devices() -> Iterator[None]:
    """Switches autotune off in the part of an iterator that TensorFlow adds for each device.

    The options of a dataset don't reach it, and its thread is what holds up an iterator's end by
    10 x (2^k - 1) ms. tests/data/test_batches.py tells whether this is still needed.
    """
    original = multi_device_iterator_ops._create_device_dataset  # noqa: SLF001 - it has no public name
    options = tf.data.Options()
    options.autotune.enabled = False

    def quiet(*args: Foreign) -> tf.data.Dataset:
        return original(*args).with_options(options)

    multi_device_iterator_ops._create_device_dataset = quiet  # noqa: SLF001 - it has no public name
    try:
        yield
    finally:
        multi_device_iterator_ops._create_device_dataset = original  # noqa: SLF001 - it has no public name
