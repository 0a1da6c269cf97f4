"""Keras 3's `fit`, `evaluate` and `predict` on any number of workers and replicas.

A model keeps its class and its methods; what is replaced are the functions that run steps (here)
and what they touch inside Keras (`keras_internals`).

Training enters Python about once a second: a loop on the device takes many steps, in which nothing
but gradients crosses workers. At its end, the `boundary`, one all-reduce carries metric totals,
batch statistics and each worker's figures. `evaluation` has the other two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tfscale.data.feed import Input, next_of
from tfscale.errors import ConfigError, one_line
from tfscale.fit import alone as efficiency
from tfscale.fit.boundary import Boundary, Exchange
from tfscale.fit.evaluation import STEPS_PER_CALL, Evaluation
from tfscale.fit.keras import install as keras_internals
from tfscale.fit.keras.batch_normalization import fuse_batch_normalization
from tfscale.fit.keras.loops import Call, StepFunctions
from tfscale.fit.keras.optimizer import ReducedUpdate
from tfscale.fit.loop_length import next_steps_per_call
from tfscale.fit.metric_totals import MetricTotals
from tfscale.fit.replica_state import ReplicaStatistics, part_of, separate_random_states
from tfscale.gradients import wires
from tfscale.gradients.micro_batches import mean_of
from tfscale.gradients.reducer import Gradient, GradientReducer, Traffic
from tfscale.gradients.timing import CommunicationTimes

_MOST_STEPS_PER_CALL = 10_000


def _no_figures() -> list[float]:
    return []


@dataclass(frozen=True)
class StepOptions:
    """How steps are run.

    Args:
        bucket_bytes: gradients that travel in one all-reduce.
        wire_dtype: dtype of gradients while they travel.
        compress: "none", "int8" or "topk", in place of the wire dtype.
        accumulate_steps: micro-batches a step.
        steps_per_execution: steps of an on-device loop, 0 to let it last about a second.
        jit: whether XLA compiles forward and backward.
        measure: gives this worker's figures, always equally many, once a boundary.
    """

    bucket_bytes: int = 8 * 2**20
    wire_dtype: str = "float32"
    compress: str = "none"
    accumulate_steps: int = 1
    steps_per_execution: int = 0
    jit: bool = False
    measure: Callable[[], Sequence[float]] = field(default=_no_figures)


class DistributedModel:
    """A compiled Keras model whose `fit`, `evaluate` and `predict` run on all replicas.

    Args:
        model: compiled, made in the strategy's scope.
        strategy: of the job.
        spec: structure, shapes and dtypes of one replica's `(x, y[, sample_weight])`.
        options: how steps are run.
        worker: global rank of this worker.
        num_workers: of the job.
        as_input: makes an evaluation `Input` of what a user hands to `evaluate` or `predict`.

    Raises:
        ConfigError: the model doesn't fit the data, or asks for what can't be distributed.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        *,
        spec: Any,  # noqa: ANN401 - the user's structure
        options: StepOptions,
        worker: int = 0,
        num_workers: int = 1,
        as_input: Callable[..., Input] | None = None,
    ) -> None:
        """Builds the model and its optimizer, and replaces what is replaced."""
        self.model = model
        self.boundary: Boundary | None = None
        self.step = 0
        self._strategy = strategy
        self._options = options
        self._steps_per_call = options.steps_per_execution or 1
        self._is_warm = False
        if model.run_eagerly:
            raise ConfigError(
                "The model is compiled with run_eagerly=True, which can't run on several replicas; "
                "expected False. Leave it out of compile()."
            )
        self._spec = spec
        self._build(spec)
        fuse_batch_normalization(model)
        self._totals = MetricTotals(model)
        self.communication = CommunicationTimes(strategy)
        self._exchange = Exchange(
            strategy,
            self._totals,
            ReplicaStatistics(model, strategy),
            self.communication,
            worker=worker,
            num_workers=num_workers,
        )
        self._reducer = self._make_reducer()
        self._update = ReducedUpdate(model.optimizer, self._reducer)
        separate_random_states(model, strategy, worker)
        # Keras's own "auto" means no XLA under a strategy, so True is the user's word.
        jit = options.jit or bool(model.jit_compile)
        if jit and strategy.num_replicas_in_sync > 1:
            _refuse_collectives(model)
        self._gradients_of = (
            tf.function(self._gradients_of_batch, autograph=False, jit_compile=True)
            if jit
            else self._gradients_of_batch
        )
        self._holds_gradients = jit or options.accumulate_steps > 1
        self._train_loop = tf.function(self._train_steps, autograph=False)
        evaluation = Evaluation(model, strategy, self._totals, num_workers)
        functions = StepFunctions(
            self._train_call,
            evaluation.test_call,
            evaluation.predict_call,
            self._steps_of_next_call,
            as_input,
        )
        keras_internals.install(model, functions, strategy)

    def _build(self, spec: Any) -> None:  # noqa: ANN401
        """Builds from shapes: Keras would reduce a batch, which strings and integers don't take."""
        try:
            with self._strategy.scope():
                keras_internals.build(self.model, spec)
        except Exception as error:
            raise ConfigError(
                f"The model doesn't fit the data: {one_line(error)}. The data has (x, y) = "
                f"{_shapes(spec)}; change the model's inputs and outputs, its loss, or preprocess."
            ) from error

    def _make_reducer(self) -> GradientReducer:
        """The way of the gradients; what a lossy wire keeps back is each replica's own."""
        options, replicas = self._options, self._strategy.num_replicas_in_sync
        wire = wires.wire(options.wire_dtype, options.compress, replicas)
        residuals: list[tf.Variable] = []
        if wire.is_lossy and replicas > 1:
            if isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer):
                raise ConfigError(
                    f"--compress={options.compress} keeps gradients for the next step, whose loss "
                    "scale may be another; expected no loss scaling. Use "
                    "--precision=mixed_bfloat16, or leave --compress away."
                )
            with self._strategy.scope():
                residuals = [
                    tf.Variable(
                        tf.zeros(variable.shape, variable.dtype),
                        trainable=False,
                        synchronization=tf.VariableSynchronization.ON_READ,
                        aggregation=tf.VariableAggregation.SUM,
                    )
                    for variable in self.model.trainable_variables
                ]
        return GradientReducer(
            bucket_bytes=options.bucket_bytes,
            wire=wire,
            residuals=residuals,
            observe=self.communication.observe,
        )

    def alone_seconds(self, spec: Any) -> float:  # noqa: ANN401
        """Seconds of a step of one replica that has nobody to wait for; changes no state.

        Args:
            spec: of one replica's batch.
        """
        self._reducer.is_bypassed = True
        try:
            return efficiency.measured_seconds(
                self.model, self._strategy, self._replica_train_step, spec
            )
        finally:
            self._reducer.is_bypassed = False

    @property
    def traffic(self) -> Traffic:
        """What one replica sends in a step, once the step is traced."""
        return self._reducer.traffic

    def _steps_of_next_call(self, name: str) -> int:
        """How many steps the next call takes, the same on every worker."""
        by_method = {"fit": self._steps_per_call, "evaluate": STEPS_PER_CALL}
        return by_method.get(name, 1)

    def _train_call(self, call: Call) -> dict[str, Any]:
        figures = tf.constant(list(self._options.measure()), tf.float64)
        packed, rows, custom = self._train_loop(
            call.input.iterator, tf.constant(call.steps), figures
        )
        self.step += call.steps
        self.boundary = Boundary.of_rows(
            rows.numpy(), step=self.step, steps=call.steps, is_warm=self._is_warm
        )
        fixed = self._options.steps_per_execution
        if fixed:
            self._steps_per_call = fixed
        elif self._is_warm:
            slowest = float(self.boundary.seconds.max()) / call.steps
            self._steps_per_call = next_steps_per_call(
                self._steps_per_call, slowest, limit=_MOST_STEPS_PER_CALL
            )
        self._is_warm = True
        if custom:
            return {name: value.numpy().item() for name, value in custom.items()}
        return self._totals.results(self._totals.packing.unpack(packed))

    def _train_steps(
        self,
        iterator: Any,  # noqa: ANN401
        steps: tf.Tensor,
        figures: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """Takes `steps` steps, then exchanges what a boundary exchanges.

        Returns:
            What `Exchange` gives; the averages are of what a train_step of the user's own
            returned, where it isn't the model's metrics.
        """
        started = tf.timestamp()
        custom_names = self._custom_names(iterator)

        def body(number: tf.Tensor, waited: tf.Tensor, custom: Any) -> Any:  # noqa: ANN401
            before = tf.timestamp()
            with tf.control_dependencies([before]):
                batch = next_of(iterator)
            with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
                after = tf.timestamp()
            logs = self._strategy.run(self._replica_train_step, args=(batch,))
            returned = {name: self._local_mean(logs[name]) for name in custom}
            return number + 1, waited + (after - before), returned

        with tf.control_dependencies([started]):
            waited = tf.zeros([], tf.float64)
            self._strategy.run(self.communication.reset)
        nothing = {name: tf.zeros([], tf.float64) for name in custom_names}
        _, waited, custom = tf.while_loop(
            lambda number, *_: number < steps,
            body,
            (tf.constant(0), waited, nothing),
            parallel_iterations=1,
        )
        return self._exchange(started, waited, figures, custom)

    def _replica_train_step(self, batch: Any) -> Any:  # noqa: ANN401
        """One step of one replica: forward and backward of each micro-batch, then one update."""
        # A distributed iterator may forget the size of a batch, which XLA and slices need.
        batch = tf.nest.map_structure(_with_shape, batch, self._spec)
        if not self._holds_gradients:
            return self.model.train_step(batch)
        count = self._options.accumulate_steps
        parts: list[list[Gradient]] = []
        logs = None
        for part in range(count):
            # One micro-batch's activations are gone before the next one's are made.
            waited_for = [
                tensor
                for tensor in tf.nest.flatten(parts[-1:], expand_composites=True)
                if tensor is not None
            ]
            with tf.control_dependencies(waited_for):
                gradients, logs = self._gradients_of(part_of(batch, part, count))
            parts.append(gradients)
        self._update(mean_of(parts), self._updated_variables)
        return logs

    def _gradients_of_batch(self, batch: Any) -> tuple[list[Gradient], Any]:  # noqa: ANN401
        """Runs the model's `train_step` up to the update: gives its gradients and its logs."""
        with self._update.held() as held:
            logs = self.model.train_step(batch)
        if len(held) != 1:
            raise ConfigError(
                f"The model's train_step updates {len(held)} times with its optimizer; expected "
                "once with --accumulate_steps or XLA. Leave these away, or update once."
            )
        gradients, self._updated_variables = held[0]
        return gradients, logs

    def _custom_names(self, iterator: Any) -> list[str]:  # noqa: ANN401
        """The logs of a user's own train_step, if they are something else than the metrics."""
        if not keras_internals.has_own_train_step(self.model):
            return []
        with tf.Graph().as_default():
            returned: list[str] = []

            def trace(batch: Any) -> None:  # noqa: ANN401
                logs = self._strategy.run(self._replica_train_step, args=(batch,))
                returned.extend(logs)

            spec = iterator.element_spec
            tf.function(trace, autograph=False).get_concrete_function(spec)
        names = [metric.name for metric in self.model.metrics]
        return [] if set(returned) <= set(names) else sorted(set(returned))

    def _local_mean(self, value: Any) -> tf.Tensor:  # noqa: ANN401
        parts = self._strategy.experimental_local_results(value)
        return tf.add_n([tf.cast(part, tf.float64) for part in parts]) / len(parts)


def _refuse_collectives(model: keras.Model) -> None:
    """XLA compiles forward and backward as a whole: no all-reduce can be within them."""
    for layer in model._flatten_layers():
        if getattr(layer, "synchronized", False):
            raise ConfigError(
                f"Layer {layer.name} is synchronized between replicas, which XLA can't compile; "
                "expected synchronized=False with --jit or jit_compile=True. Leave one away."
            )


def _with_shape(leaf: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
    return leaf if leaf.shape.is_fully_defined() else tf.ensure_shape(leaf, spec.shape)


def _shapes(spec: Any) -> str:  # noqa: ANN401
    shown = tf.nest.map_structure(
        lambda leaf: f"{leaf.dtype.name}{tuple(leaf.shape[1:])}", spec[:2]
    )
    return str(shown).replace("'", "")
