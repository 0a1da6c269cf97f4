"""Keras's own loops over an `Input`: many steps a call, plain data through one."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tfscale.data.feed import Input
from tfscale.errors import ConfigError
from tfscale.fit.callbacks.callback_intervals import Rhythm, wishes_of
from tfscale.fit.keras.seams import keras_trainer
from tfscale.fit.loop.events import Point
from tfscale.fit.loop.loop_ends import LoopEnds
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
        predict: takes a list with `Call`s of which the first one counts, gives outputs in the order
            of the examples.
        steps_of_next_call: by the name of the loop ("fit", "evaluate", "predict"): what would be
            best if no callback had to be called.
        fixed_steps: that somebody has asked for, 0 for none.
        as_input: makes, while it is entered, an evaluation `Input` of what a user hands to
            `evaluate` or `predict`; None where only an `Input` is taken. Called with the name of
            the method and x, y, sample_weight, batch_size and steps.
        last_logs: of the training step before; those of an epoch that has none left to take.
        step: gives training steps so far.
        ends: is told what lies between two calls.
    """

    train: Callable[[Call], dict[str, Any]]
    test: Callable[[Call], dict[str, Any]]
    predict: Callable[[list[Call]], Any]
    steps_of_next_call: Callable[[str], int]
    fixed_steps: int = 0
    as_input: Callable[..., contextlib.AbstractContextManager[Input]] | None = None
    last_logs: Callable[[], dict[str, Any]] = dict
    step: Callable[[], int] = lambda: 0
    ends: LoopEnds = field(default_factory=LoopEnds)


def over_inputs(model: keras.Model, name: str, functions: StepFunctions) -> Callable[..., Any]:
    """One of Keras's loops over an `Input`, and over plain data through one.

    Args:
        model: whose loop it is.
        name: "fit", "evaluate" or "predict".
        functions: that run steps.
    """
    method = getattr(model, name)
    signature = inspect.signature(method)

    def run(*args: Foreign, **kwargs: Foreign) -> Foreign:
        given = signature.bind(*args, **kwargs).arguments
        given.update(given.pop("kwargs", {}))
        with contextlib.ExitStack() as stack:
            is_nested = given.get("_use_cached_eval_dataset", False)
            if not isinstance(given.get("x"), Input) and not is_nested:
                stack.enter_context(_converted(name, functions, given))
            rhythm = _rhythm(model, functions, given.get("callbacks"))

            def epochs(
                x: Input, steps_per_epoch: int | None, class_weight: Foreign = None, **_: Foreign
            ) -> _Epochs:
                if class_weight:
                    raise ConfigError("class_weight belongs in the dataset file, not into fit.")
                # Within fit Keras makes the iterator of the validation too.
                loop = "validation" if name == "fit" and x.is_evaluation else name
                return _Epochs(x, steps_per_epoch or x.steps, loop, functions, rhythm)

            if not is_nested:  # which continues with the iterator that fit has made
                stack.enter_context(_iterators_replaced(model, epochs))
            return method(**given)

    return run


def _rhythm(model: keras.Model, functions: StepFunctions, callbacks: Foreign) -> Rhythm:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    return Rhythm(
        wishes_of(keras.tree.flatten(callbacks or [])),
        functions.fixed_steps,
        is_compiled=model.steps_per_execution > 1,
    )


@contextlib.contextmanager
def _converted(name: str, functions: StepFunctions, given: dict[str, Any]) -> Iterator[None]:
    """Puts an `Input` in the place of plain data and of what says how to read it."""
    if name == "fit" or functions.as_input is None:
        raise ConfigError(
            f"{name}() was called with data of its own, which is not distributed; expected the "
            "dataset file's. Give the data to tfscale.train, or train a model that was not given "
            "to it."
        )
    data = {part: given.pop(part, None) for part in ("x", "y", "sample_weight", "batch_size")}
    with functions.as_input(name, **data, steps=given.get("steps")) as source:
        if source.steps is not None and given.get("steps") is not None:
            given["steps"] = min(given["steps"], source.steps)
        given["x"] = source
        yield


class _Epochs:
    """Stands where Keras expects its `TFEpochIterator`: steps of an `Input`, many a call."""

    def __init__(
        self,
        source: Input,
        steps: int | None,
        loop: str,
        functions: StepFunctions,
        rhythm: Rhythm,
    ) -> None:
        self.num_batches = steps
        self._source = source
        self._loop = loop
        self._name = "evaluate" if loop == "validation" else loop
        self._functions = functions
        self._rhythm = rhythm
        self._taken = 0  # in all epochs

    def reset(self) -> None:
        """Does nothing: the one iterator goes on where it is."""

    def __iter__(self) -> Iterator[tuple[int, int, Any]]:
        done = self._begin()
        self._source.start()
        self._reach(done)
        try:
            while self.num_batches is None or done < self.num_batches:
                wanted = self._functions.steps_of_next_call(self._name)
                asked = steps = self._rhythm.steps(self._name, self._taken, wanted)
                if self.num_batches is not None:
                    steps = min(steps, self.num_batches - done)
                last = self._rhythm.last_batch(done, steps, asked)
                yield done, last, Call(self._source, steps, is_first=not done)
                done += steps
                self._taken += steps
                self._reach(done)
        finally:
            if self._source.is_evaluation and done != self._source.steps:
                self._source.rewind()

    def _begin(self) -> int:
        """How many batches of this pass an earlier run has taken."""
        if self._loop != "fit" or self._taken:
            return 0
        resumed = self._functions.ends.begin()
        self._taken = resumed.taken
        return resumed.done

    def _reach(self, done: int) -> None:
        ends = self._functions.ends
        ends.passed += 1
        if not self._source.is_alone:  # a callback of the chief asks, and nobody else is here
            step = self._functions.step()
            ends.at_point(Point(self._loop, done, self.num_batches, step))

    @contextlib.contextmanager
    def catch_stop_iteration(self) -> Iterator[None]:
        """Ends a stream quietly: how long it is was not known."""
        with contextlib.suppress(StopIteration):
            yield


@contextlib.contextmanager
def _iterators_replaced(model: keras.Model, replacement: Callable[..., Any]) -> Iterator[None]:
    """Makes the loops of one model use `replacement` where they make a `TFEpochIterator`.

    Another model, which a callback may ask meanwhile, keeps Keras's own; but one that was made in
    the strategy's scope, such as half of this one, computes by itself: Keras would bring all
    workers together, who may not all have come.
    """
    original = keras_trainer.TFEpochIterator
    # Whatever the class is called that a model has it from.
    trainer = next(kind for kind in keras.Model.__mro__ if "distribute_strategy" in vars(kind))
    strategy_of = trainer.distribute_strategy

    def iterator(x: Structure = None, **kwargs: Foreign) -> Foreign:
        if isinstance(x, Input):
            return replacement(x=x, **kwargs)
        return original(x=x, **kwargs)

    def strategy(self: keras.Model) -> tf.distribute.Strategy:
        return strategy_of.fget(model) if self is model else tf.distribute.get_strategy()

    keras_trainer.TFEpochIterator = iterator
    trainer.distribute_strategy = property(strategy)
    try:
        yield
    finally:
        keras_trainer.TFEpochIterator = original
        trainer.distribute_strategy = strategy_of
