"""Keras's own loops over an `Input`: many steps a call, plain data through one."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from keras.src.backend.tensorflow import trainer as keras_trainer

from tfscale.data.feed import Input
from tfscale.structures import Foreign, Structure


@dataclass(frozen=True)
class Call:
    """What Keras hands from its iterator to a step function.

    Args:
        input: whose batches are taken.
        steps: how many.
        is_first: whether an epoch or an evaluation begins with it.
    """

    input: Input
    steps: int
    is_first: bool = True

    def __next__(self) -> "Call":
        """Gives itself: Keras's `predict` takes the next item and hands on what it gets."""
        return self


@dataclass(frozen=True)
class StepFunctions:
    """What runs in the place of Keras's own step functions.

    Args:
        train: takes a `Call`, gives the logs of all replicas.
        test: likewise.
        predict: takes a list with one `Call`, gives outputs in the order of the examples.
        steps_of_next_call: by the name of the loop ("fit", "evaluate", "predict").
        as_input: makes an evaluation `Input` of what a user hands to `evaluate` or `predict`.
    """

    train: Callable[[Call], dict[str, Any]]
    test: Callable[[Call], dict[str, Any]]
    predict: Callable[[list[Call]], Any]
    steps_of_next_call: Callable[[str], int]
    as_input: Callable[..., Input] | None


def over_inputs(
    name: str, method: Callable[..., Any], functions: StepFunctions
) -> Callable[..., Any]:
    """Lets one of Keras's loops iterate over an `Input`, and over plain data through one."""

    def epochs(
        x: Structure = None,
        steps_per_epoch: int | None = None,
        class_weight: Foreign = None,
        **kwargs: Foreign,
    ) -> "_Epochs":
        if class_weight:
            raise TypeError("class_weight belongs into the dataset file.")
        # Within fit Keras makes the iterator of the validation too.
        loop = "evaluate" if name == "fit" and x.is_evaluation else name
        steps_of_next_call = functools.partial(functions.steps_of_next_call, loop)
        return _Epochs(x, steps_per_epoch or x.steps, steps_of_next_call)

    def run(x: Structure = None, *args: Foreign, **kwargs: Foreign) -> Foreign:
        is_nested = kwargs.get("_use_cached_eval_dataset", False)
        if not isinstance(x, Input) and not is_nested:
            x, args, kwargs = _converted(name, functions.as_input, x, args, kwargs)
        with _iterator_replaced(epochs):
            return method(x, *args, **kwargs)

    return run


def _converted(
    name: str,
    as_input: Callable[..., Input] | None,
    x: Structure,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Input, tuple[Any, ...], dict[str, Any]]:
    if name == "fit" or as_input is None:
        raise TypeError(f"{name} takes a tfscale Input here; use tfscale.train for plain data.")
    y, *rest = args or (kwargs.pop("y", None),)
    weight = kwargs.pop("sample_weight", None)
    kwargs.pop("batch_size", None)
    steps = kwargs.pop("steps", None)
    if rest:
        raise TypeError(f"Give {name} everything after y by name.")
    return as_input(x, y, weight, steps), (), kwargs


class _Epochs:
    """Stands where Keras expects its `TFEpochIterator`: steps of an `Input`, many a call."""

    def __init__(
        self, source: Input, steps: int | None, steps_of_next_call: Callable[[], int]
    ) -> None:
        self.num_batches = steps
        self._source = source
        self._steps_of_next_call = steps_of_next_call

    def reset(self) -> None:
        """Does nothing: the one iterator goes on where it is."""

    def __iter__(self) -> Iterator[tuple[int, int, Any]]:
        done = 0
        self._source.start()
        try:
            while self.num_batches is None or done < self.num_batches:
                steps = self._steps_of_next_call()
                if self.num_batches is not None:
                    steps = min(steps, self.num_batches - done)
                yield done, done + steps - 1, Call(self._source, steps, is_first=not done)
                done += steps
        finally:
            if self._source.is_evaluation and done != self._source.steps:
                self._source.rewind()

    @contextlib.contextmanager
    def catch_stop_iteration(self) -> Iterator[None]:
        """Ends a stream quietly: how long it is was not known."""
        with contextlib.suppress(StopIteration):
            yield


@contextlib.contextmanager
def _iterator_replaced(replacement: Callable[..., Any]) -> Iterator[None]:
    """Makes Keras's loops use `replacement` where they make a `TFEpochIterator`."""
    original = keras_trainer.TFEpochIterator
    keras_trainer.TFEpochIterator = replacement
    try:
        yield
    finally:
        keras_trainer.TFEpochIterator = original
