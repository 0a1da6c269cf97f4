"""One training step of one replica: forward and backward of each micro-batch, then one update."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.keras.optimizer import ReducedUpdate
from tfscale.gradients.micro_batches import mean_of, part_of
from tfscale.gradients.reducer import GradientReducer, Way
from tfscale.gradients.wires import Wire
from tfscale.structures import Gradient, Spec, Structure


class TrainStep:
    """Runs the model's `train_step`, with its optimizer made to reduce gradients first.

    Args:
        model: compiled and built.
        spec: of one replica's batch, with static shapes.
        reduce: sums gradients over all replicas.
        accumulate_steps: micro-batches a step.
        jit: whether XLA compiles forward and backward.

    Raises:
        ConfigError: the optimizer can't be made to reduce first.
    """

    def __init__(
        self,
        model: keras.Model,
        spec: Spec,
        reduce: GradientReducer,
        *,
        accumulate_steps: int,
        jit: bool,
    ) -> None:
        """Changes the model's optimizer."""
        self._model = model
        self._spec = spec
        self._count = accumulate_steps
        self._update = ReducedUpdate(model.optimizer, reduce)
        self._gradients_of = (
            tf.function(self._gradients_of_batch, autograph=False, jit_compile=True)
            if jit
            else self._gradients_of_batch
        )
        self._holds_gradients = jit or accumulate_steps > 1
        self._updated_variables: Sequence[keras.Variable] | None = None

    def __call__(self, batch: Structure) -> Structure:
        """Takes the step; gives the logs that the model's `train_step` returned."""
        # A distributed iterator may forget the size of a batch, which XLA and slices need.
        batch = tf.nest.map_structure(_with_shape, batch, self._spec)
        if not self._holds_gradients:
            return self._model.train_step(batch)
        parts: list[list[Gradient]] = []
        logs = None
        for part in range(self._count):
            # One micro-batch's activations are gone before the next one's are made.
            waited_for = [
                tensor
                for tensor in tf.nest.flatten(parts[-1:], expand_composites=True)
                if tensor is not None
            ]
            with tf.control_dependencies(waited_for):
                gradients, logs = self._gradients_of(part_of(batch, part, self._count))
            parts.append(gradients)
        self._update(mean_of(parts), self._updated_variables)
        return logs

    def _gradients_of_batch(self, batch: Structure) -> tuple[list[Gradient], Structure]:
        """Runs the model's `train_step` up to the update: gives its gradients and its logs."""
        with self._update.held() as held:
            logs = self._model.train_step(batch)
        if len(held) != 1:
            raise ConfigError(
                f"The model's train_step updates {len(held)} times with its optimizer; expected "
                "once with --accumulate_steps or XLA. Leave these away, or update once."
            )
        gradients, self._updated_variables = held[0]
        return gradients, logs


def make_reducer(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    wire: Wire,
    *,
    bucket_bytes: int,
    observe: Callable[[tf.Tensor, tf.Tensor], None],
) -> GradientReducer:
    """The way of a model's gradients; what a lossy wire keeps back is each replica's own.

    Args:
        model: compiled and built.
        strategy: whose replicas are summed over.
        wire: how gradients are sent.
        bucket_bytes: gradients that travel together.
        observe: gets when each bucket was ready and when it was summed; see `GradientReducer`.

    Raises:
        ConfigError: the wire is lossy and the loss is scaled.
    """
    residuals: list[tf.Variable] = []
    if wire.is_lossy and strategy.num_replicas_in_sync > 1:
        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            raise ConfigError(
                f"--compress={wire.name} keeps gradients for the next step, whose loss "
                "scale may be another; expected no loss scaling. Use "
                "--precision=mixed_bfloat16, or leave --compress away."
            )
        with strategy.scope():
            residuals = [
                tf.Variable(
                    tf.zeros(variable.shape, variable.dtype),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for variable in model.trainable_variables
            ]
    return GradientReducer(Way(bucket_bytes, wire, residuals, observe))


def _with_shape(leaf: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
    return leaf if leaf.shape.is_fully_defined() else tf.ensure_shape(leaf, spec.shape)
