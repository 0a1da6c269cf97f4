"""Every contact with the insides of Keras 3.15.1: a new version has one file to break.

Keras's own `fit`, `evaluate` and `predict` stay: they call the functions that are installed here,
iterate over an `Input` through `Epochs`, and the optimizer reduces gradients before it does
anything else with them. tests/cluster/test_parity.py names the defect behind each replacement.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer

from tfscale.config import ConfigError
from tfscale.gradients import Gradient
from tfscale.iterators import Input


@dataclass(frozen=True)
class Call:
    """What Keras hands from its iterator to a step function: the input and how many steps."""

    input: Input
    steps: int

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


def build(model: keras.Model, spec: Any) -> None:  # noqa: ANN401 - the user's structure
    """Builds model, metrics and optimizer from shapes and dtypes.

    Keras would all-reduce a batch to learn them, which strings and integers don't take
    (https://github.com/keras-team/keras/issues/20329).
    """
    model._symbolic_build(data_batch=spec)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def install(model: keras.Model, functions: StepFunctions, strategy: tf.distribute.Strategy) -> None:
    """Makes this one model's `fit`, `evaluate` and `predict` call `functions`.

    Args:
        model: compiled and built.
        functions: that run steps.
        strategy: whose replicas each have metrics of their own.
    """

    def make_train_function(force: bool = False) -> None:
        model.train_function = functions.train

    def make_test_function(force: bool = False) -> None:
        model.test_function = functions.test

    def make_predict_function(force: bool = False) -> None:
        model.predict_function = functions.predict

    model.make_train_function = make_train_function
    model.make_test_function = make_test_function
    model.make_predict_function = make_predict_function
    # The model is built, and the logs that reach these are already those of all replicas.
    model._maybe_symbolic_build = lambda *args, **kwargs: None
    model._get_metrics_result_or_logs = lambda logs: logs
    # Outside of the replicas TensorFlow reads a variable back after assigning it: an all-reduce of
    # 5 ms for each variable of each metric, at the beginning of every epoch and evaluation.
    model.reset_metrics = functools.partial(strategy.run, model.reset_metrics)
    for name in ("fit", "evaluate", "predict"):
        setattr(model, name, _over_inputs(name, getattr(model, name), functions))


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer, with the arguments that its `call` got."""

    layer: keras.layers.Layer
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def layers_within(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer consists of, at every depth, each once; `Model.layers` is flat."""
    within = layer._flatten_layers(include_self=False)
    return list({id(one): one for one in within}.values())


@contextlib.contextmanager
def calls_recorded(layers: Sequence[keras.layers.Layer]) -> Iterator[list[LayerCall]]:
    """Writes down the calls of these layers in the body, in the order in which they start.

    Keras looks `call` up on the layer, also where one layer calls another without `__call__`.
    """
    calls: list[LayerCall] = []

    def recording(layer: keras.layers.Layer, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            calls.append(LayerCall(layer, args, kwargs))
            return original(*args, **kwargs)

        return call

    replaced = [vars(layer).get("call") for layer in layers]
    for layer in layers:
        layer.call = recording(layer, layer.call)
    try:
        yield calls
    finally:
        for layer, call in zip(layers, replaced, strict=True):
            if call is None:
                del layer.call
            else:
                layer.call = call


def has_own_train_step(model: keras.Model) -> bool:
    """Whether the model's class brings a `train_step`."""
    stock = keras_trainer.TensorFlowTrainer.train_step
    return getattr(type(model), "train_step", stock) is not stock


class ReducedUpdate:
    """Makes an optimizer reduce gradients before it clips, checks and applies them.

    Stock Keras 3 clips and checks for overflow before gradients are summed over replicas, so that
    the result depends on their number, and an overflow on any replica but the first reaches the
    weights. Whoever calls `optimizer.apply` or `apply_gradients`, a train_step of the user's own
    too, gets this instead.

    Args:
        optimizer: whose `apply` is replaced.
        reduce: sums gradients over all replicas.

    Raises:
        ConfigError: the optimizer wants to accumulate by itself, which can't work with several
            replicas (https://github.com/keras-team/keras/issues/20582).
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        reduce: Callable[[Sequence[Any]], list[Gradient]],
    ) -> None:
        """Replaces `apply` on this one optimizer."""
        layers = [optimizer]
        if hasattr(optimizer, "inner_optimizer"):
            layers.append(optimizer.inner_optimizer)
        for layer in layers:
            count = layer.gradient_accumulation_steps
            if count:
                raise ConfigError(
                    f"{type(layer).__name__}(gradient_accumulation_steps={count}) accumulates "
                    f"after the all-reduce; expected none. Use --accumulate_steps={count} instead, "
                    "with that many times the batch size."
                )
            layer._all_reduce_sum_gradients = list
        self._reduce = reduce
        self._rate = _LearningRate(layers[-1])
        self._original = optimizer.apply
        # Replicas of a worker are traced in threads of their own, which take turns.
        self._of_thread = threading.local()
        optimizer.apply = self

    def __call__(
        self, gradients: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        """Reduces and applies, or only keeps what it is given while `held`."""
        kept = getattr(self._of_thread, "kept", None)
        if kept is None:
            with self._rate.asked_once():
                self._original(self._reduce(gradients), trainable_variables)
        else:
            kept.append((list(gradients), trainable_variables))

    @contextlib.contextmanager
    def held(self) -> Iterator[list[tuple[list[Gradient], Sequence[Any] | None]]]:
        """Keeps gradients back in the body: gives the list that they are kept in."""
        kept: list[tuple[list[Gradient], Sequence[Any] | None]] = []
        self._of_thread.kept = kept
        try:
            yield kept
        finally:
            self._of_thread.kept = None


class _LearningRate:
    """Evaluates a schedule once a step, where Keras does so again for each variable that decays.

    A schedule with a warm-up is a conditional within a conditional: with 16 variables that was a
    quarter of a second of tracing, and as many conditionals in every step.

    Args:
        optimizer: the innermost one, which has the schedule.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Replaces how this one optimizer looks it up."""
        self._optimizer = optimizer
        self._original = optimizer._get_current_learning_rate
        self._known: Any = None
        optimizer._get_current_learning_rate = self._look_up

    def _look_up(self) -> Any:  # noqa: ANN401
        return self._original() if self._known is None else self._known

    @contextlib.contextmanager
    def asked_once(self) -> Iterator[None]:
        """In the body, what the optimizer updates has the rate of the body's beginning."""
        schedule = keras.optimizers.schedules.LearningRateSchedule
        if isinstance(self._optimizer._learning_rate, schedule):
            self._known = self._original()
        try:
            yield
        finally:
            self._known = None


@contextlib.contextmanager
def output_losses_weighted(model: keras.Model, count: tf.Tensor) -> Iterator[None]:
    """Weighs the loss of each output by the rows that it is the mean of, while a step is traced.

    Keras does so where the batch size is static only; elsewhere a batch of one row counts as much
    as a full one (compile_utils.CompileLoss.call).
    """
    trackers = list(getattr(model._compile_loss, "metrics", []))
    for tracker in trackers:
        original = tracker.update_state
        tracker.update_state = functools.partial(_weighted_update, original, count)
    try:
        yield
    finally:
        for tracker in trackers:
            del tracker.update_state


def _weighted_update(
    original: Callable[..., Any],
    count: tf.Tensor,
    value: tf.Tensor,
    sample_weight: Any = None,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    return original(value, sample_weight=count if sample_weight is None else sample_weight)


def _over_inputs(
    name: str, method: Callable[..., Any], functions: StepFunctions
) -> Callable[..., Any]:
    """Lets one of Keras's loops iterate over an `Input`, and over plain data through one."""

    def epochs(
        x: Any = None,  # noqa: ANN401
        steps_per_epoch: int | None = None,
        class_weight: Any = None,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> "_Epochs":
        if class_weight:
            raise TypeError("class_weight belongs into the dataset file.")
        # Within fit Keras makes the iterator of the validation too.
        loop = "evaluate" if name == "fit" and x.is_evaluation else name
        steps_of_next_call = functools.partial(functions.steps_of_next_call, loop)
        return _Epochs(x, steps_per_epoch or x.steps, steps_of_next_call)

    def run(x: Any = None, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        is_nested = kwargs.get("_use_cached_eval_dataset", False)
        if not isinstance(x, Input) and not is_nested:
            x, args, kwargs = _converted(name, functions.as_input, x, args, kwargs)
        with _iterator_replaced(epochs):
            return method(x, *args, **kwargs)

    return run


def _converted(
    name: str,
    as_input: Callable[..., Input] | None,
    x: Any,  # noqa: ANN401
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
                yield done, done + steps - 1, Call(self._source, steps)
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
