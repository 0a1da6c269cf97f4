"""Keras 3's `fit`, `evaluate` and `predict` on any number of workers and replicas.

A model keeps its class and its methods; what is replaced are the functions that run steps (here)
and what they touch inside Keras (`keras/`).

Training enters Python about once a second: a loop on the device takes many steps, in which nothing
but gradients crosses workers. At its end, the `boundary`, one all-reduce carries metric totals,
batch statistics and each worker's figures. `evaluation` has the other two.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfscale.data.feed import next_of
from tfscale.data.splits import Splits
from tfscale.errors import ConfigError, one_line
from tfscale.fit.alone import measured_seconds
from tfscale.fit.boundary import Boundary, Exchange
from tfscale.fit.evaluation import STEPS_PER_CALL, Evaluation
from tfscale.fit.keras.batch_normalization import fuse_batch_normalization
from tfscale.fit.keras.given import GivenData, install_batch_methods
from tfscale.fit.keras.install import build, has_own_train_step, install
from tfscale.fit.keras.layers import synchronized_layer
from tfscale.fit.keras.loops import Call, StepFunctions
from tfscale.fit.keras.rhythm import described, wishes_of
from tfscale.fit.loop_length import fixed_steps_per_call, next_steps_per_call
from tfscale.fit.metric_totals import MetricTotals
from tfscale.fit.on_chief import Chief
from tfscale.fit.prediction import Prediction
from tfscale.fit.replica_state import ReplicaStatistics, separate_random_states
from tfscale.fit.train_step import TrainStep, make_reducer
from tfscale.gradients.reducer import Traffic
from tfscale.gradients.timing import CommunicationTimes
from tfscale.gradients.wires import Wire
from tfscale.process.host_figures import HostFigures
from tfscale.startup.job import Job
from tfscale.structures import Foreign, Spec, Structure

_MOST_STEPS_PER_CALL = 10_000


class DistributedModel:
    """A compiled Keras model whose `fit`, `evaluate` and `predict` run on all replicas.

    Args:
        job: whose replicas train.
        model: compiled, made in the strategy's scope.
        data: what it is trained on.
        wire: how gradients are sent.
        bucket_bytes: gradients that travel in one all-reduce.

    Attributes:
        model: the model.
        step: steps since the start of training.
        boundary: what the last on-device loop of training measured, once there was one.
        communication: how long gradients travel.
        figure_names: what the numbers in `boundary.figures` are.
        chief: runs the callbacks that no other worker runs.

    Raises:
        ConfigError: the model doesn't fit the data, or asks for what can't be distributed.
    """

    def __init__(
        self, job: Job, model: keras.Model, data: Splits, *, wire: Wire, bucket_bytes: int
    ) -> None:
        """Builds the model and its optimizer, and replaces what is replaced."""
        self.model = model
        self.boundary: Boundary | None = None
        self.step = 0
        self._strategy = strategy = job.strategy
        self._spec = data.training.spec
        self._fixed_steps = fixed_steps_per_call(
            job.config.steps_per_execution, model.steps_per_execution
        )
        self._steps_per_call = self._fixed_steps or 1
        self._is_warm = False
        self._figures = HostFigures(job.devices.num_gpus)
        self.figure_names = self._figures.names
        _require_graph(model)
        _build(model, self._spec, strategy)
        fuse_batch_normalization(model)
        self._totals = MetricTotals(model)
        self.communication = CommunicationTimes(strategy)
        self._exchange = Exchange(
            strategy,
            self._totals,
            ReplicaStatistics(model, strategy),
            self.communication,
            worker=job.cluster.index,
            num_workers=job.cluster.num_workers,
        )
        self._reducer = make_reducer(
            model,
            strategy,
            wire,
            bucket_bytes=bucket_bytes,
            observe=self.communication.observe,
        )
        self._train_step = TrainStep(
            model,
            self._spec,
            self._reducer,
            accumulate_steps=job.config.accumulate_steps,
            jit=_uses_xla(model, asked=job.config.jit, replicas=strategy.num_replicas_in_sync),
        )
        separate_random_states(model, strategy, job.cluster.index)
        self._train_loop = tf.function(self._train_steps, autograph=False)
        self.chief = Chief(job, model)
        install(model, self._step_functions(job), strategy)
        install_batch_methods(model)

    def _step_functions(self, job: Job) -> StepFunctions:
        together, alone = (
            Evaluation(
                self.model, self._strategy, self._totals, job.cluster.num_workers, is_alone=is_alone
            )
            for is_alone in (False, True)
        )
        return StepFunctions(
            train=self.chief.heard_by_all(self._train_call),
            test=lambda call: (alone if call.input.is_alone else together).test_call(call),
            predict=Prediction(self.model, self._strategy).call,
            steps_of_next_call=self._steps_of_next_call,
            fixed_steps=self._fixed_steps,
            as_input=GivenData(job, self.chief),
        )

    def alone_seconds(self) -> float:
        """Seconds of a step of one replica that has nobody to wait for; changes no state."""
        self._reducer.is_bypassed = True
        try:
            return measured_seconds(self.model, self._strategy, self._train_step, self._spec)
        finally:
            self._reducer.is_bypassed = False

    def described(self, callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, object]:
        """What the plan has to say about callbacks that want batches; nothing for others."""
        text = described(wishes_of(callbacks), self._fixed_steps)
        return {"callbacks": text} if text else {}

    @property
    def traffic(self) -> Traffic:
        """What one replica sends in a step, once the step is traced."""
        return self._reducer.traffic

    def _steps_of_next_call(self, name: str) -> int:
        """How many steps the next call takes, the same on every worker."""
        by_method = {"fit": self._steps_per_call, "evaluate": STEPS_PER_CALL}
        return by_method.get(name, 1)

    def _train_call(self, call: Call) -> dict[str, Any]:
        figures = tf.constant(self._figures.measure(), tf.float64)
        packed, rows, custom = self._train_loop(
            call.input.iterator, tf.constant(call.steps), figures
        )
        self.step += call.steps
        self.boundary = Boundary.of_rows(
            rows.numpy(), step=self.step, steps=call.steps, is_warm=self._is_warm
        )
        if self._is_warm and not self._fixed_steps:
            self._steps_per_call = next_steps_per_call(
                self._steps_per_call, self.boundary.step_seconds, limit=_MOST_STEPS_PER_CALL
            )
        self._is_warm = True
        if custom:
            return {name: value.numpy().item() for name, value in custom.items()}
        return self._totals.results(self._totals.packing.unpack(packed))

    def _train_steps(
        self, iterator: Foreign, steps: tf.Tensor, figures: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """Takes `steps` steps, then exchanges what a boundary exchanges.

        Returns:
            What `Exchange` gives; the averages are of what a train_step of the user's own
            returned, where it isn't the model's metrics.
        """
        started = tf.timestamp()
        custom_names = self._custom_names(iterator)

        def body(number: tf.Tensor, waited: tf.Tensor, custom: Structure) -> Structure:
            before = tf.timestamp()
            with tf.control_dependencies([before]):
                batch = next_of(iterator)
            with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
                after = tf.timestamp()
            logs = self._strategy.run(self._train_step, args=(batch,))
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

    def _custom_names(self, iterator: Foreign) -> Sequence[str]:
        """The logs of a user's own train_step, if they are something else than the metrics."""
        if not has_own_train_step(self.model):
            return []
        with tf.Graph().as_default():
            returned: list[str] = []

            def trace(batch: Structure) -> None:
                logs = self._strategy.run(self._train_step, args=(batch,))
                returned.extend(logs)

            spec = iterator.element_spec
            tf.function(trace, autograph=False).get_concrete_function(spec)
        names = [metric.name for metric in self.model.metrics]
        return [] if set(returned) <= set(names) else sorted(set(returned))

    def _local_mean(self, value: Structure) -> tf.Tensor:
        parts = self._strategy.experimental_local_results(value)
        return tf.add_n([tf.cast(part, tf.float64) for part in parts]) / len(parts)


def _require_graph(model: keras.Model) -> None:
    if model.run_eagerly:
        raise ConfigError(
            "The model is compiled with run_eagerly=True, which can't run on several replicas; "
            "expected False. Leave it out of compile()."
        )


def _build(model: keras.Model, spec: Spec, strategy: tf.distribute.Strategy) -> None:
    """Builds from shapes: Keras would reduce a batch, which strings and integers don't take."""
    try:
        with strategy.scope():
            build(model, spec)
    except Exception as error:
        shapes = tf.nest.map_structure(
            lambda leaf: f"{leaf.dtype.name}{tuple(leaf.shape[1:])}", spec[:2]
        )
        shown = str(shapes).replace("'", "")
        raise ConfigError(
            f"The model doesn't fit the data: {one_line(error)}. The data has (x, y) = "
            f"{shown}; change the model's inputs and outputs, its loss, or preprocess."
        ) from error


def _uses_xla(model: keras.Model, *, asked: bool, replicas: int) -> bool:
    """Whether XLA compiles forward and backward, which no all-reduce can be within.

    Keras's own "auto" means no XLA under a strategy, so True is the user's word.

    Raises:
        ConfigError: a layer reduces by itself.
    """
    if not (asked or model.jit_compile):
        return False
    layer = synchronized_layer(model)
    if layer is not None and replicas > 1:
        raise ConfigError(
            f"Layer {layer.name} is synchronized between replicas, which XLA can't compile; "
            "expected synchronized=False with --jit or jit_compile=True. Leave one away."
        )
    return True
