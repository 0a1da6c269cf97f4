"""One training step of one replica: forward and backward of each micro-batch, then one update."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.keras.layers import synchronized_layer
from tfscale.fit.keras.loss_reduction import sharing
from tfscale.fit.keras.optimizer import ReducedUpdate
from tfscale.fit.keras.symbolic_step import regularized
from tfscale.fit.keras.traced_losses import note_loss, noting
from tfscale.fit.loss_shares import EvenShare, RecordingShare, mean_of_replicas
from tfscale.gradients.micro_batches import mean_of, part_of
from tfscale.structures import Gradient, Spec, Structure


@dataclass(frozen=True)
class HowToStep:
    """How training steps are run.

    Args:
        replicas: of the job.
        accumulate_steps: micro-batches a step.
        jit: whether XLA compiles forward and backward.
        numbers_are_sums: whether numbers that own losses give are sums over examples.
    """

    replicas: int
    accumulate_steps: int
    jit: bool
    numbers_are_sums: bool


class TrainStep:
    """Runs the model's `train_step`, whose optimizers reduce gradients first.

    Args:
        model: compiled and built.
        spec: of one replica's batch, with static shapes.
        updates: of every optimizer that the model's `train_step` applies.
        how: it is run.
    """

    def __init__(
        self,
        model: keras.Model,
        spec: Spec,
        updates: Sequence[ReducedUpdate],
        how: "HowToStep",
    ) -> None:
        self._model = model
        self._spec = spec
        self._updates = list(updates)
        self._replicas = how.replicas
        self._count = how.accumulate_steps
        self._jit = how.jit
        self._numbers_are_sums = how.numbers_are_sums
        self._updated_variables: Sequence[keras.Variable] | None = None

    def __call__(self, batch: Structure) -> Structure:
        """Takes the step; gives the logs that the model's `train_step` returned."""
        # A distributed iterator may forget the size of a batch, which XLA and slices need.
        batch = tf.nest.map_structure(_with_shape, batch, self._spec)
        if self._jit or self._count > 1:
            return self._in_parts(batch)
        with sharing(self._share()):
            return self._model.train_step(batch)

    def _share(self, totals: Sequence[tf.Tensor] = ()) -> EvenShare:
        return EvenShare(
            self._replicas,
            totals=totals,
            micro_batches=self._count,
            compiles=self._jit,
            numbers_are_sums=self._numbers_are_sums,
        )

    def _in_parts(self, batch: Structure) -> Structure:
        """The gradients of each micro-batch, then one update with their mean."""
        totals = self._denominators(batch) if self._count > 1 else []
        gradients_of = self._gradients_of(totals)
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
                gradients, logs, loss = gradients_of(part_of(batch, part, self._count))
            if loss is not None:
                note_loss(loss)
            parts.append(gradients)
        self._updates[0](mean_of(parts), self._updated_variables)
        return logs

    def _gradients_of(self, totals: Sequence[tf.Tensor]) -> Callable[[Structure], Structure]:
        """What runs the `train_step` up to the update: gives its gradients, logs and loss."""

        def gradients_of(batch: Structure) -> tuple[list[Gradient], Structure, tf.Tensor | None]:
            with sharing(self._share(totals)), self._held() as held, noting() as noted:
                logs = self._model.train_step(batch)
                loss = noted.loss()
            gradients, self._updated_variables = held[0]
            return gradients, logs, loss

        if not self._jit:
            return gradients_of
        compiled: Callable[[Structure], Structure] = tf.function(
            gradients_of, autograph=False, jit_compile=True
        )
        return compiled

    @contextlib.contextmanager
    def _held(self) -> Iterator[list[tuple[list[Gradient], Sequence[keras.Variable] | None]]]:
        """Keeps the one update of a step back.

        Raises:
            ConfigError: the step updates several times, or not at all.
        """
        together: list[tuple[list[Gradient], Sequence[keras.Variable] | None]] = []
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(update.held()) for update in self._updates]
            yield together
        together += [one for of_optimizer in held for one in of_optimizer]
        if len(together) != 1:
            raise ConfigError(
                f"The model's train_step updates {len(together)} times; expected once with "
                "--accumulate_steps or XLA. Leave these out, or update once."
            )

    def _denominators(self, batch: Structure) -> list[tf.Tensor]:
        """What losses divide by in the whole batch, the mean of all replicas.

        A step of the whole batch finds out, of which nothing else is used and so nothing else is
        computed: what it assigns stays within the scope.
        """
        share = RecordingShare()
        with keras.StatelessScope(regularized(self._model.train_step)), sharing(share):
            with contextlib.ExitStack() as stack:
                for update in self._updates:
                    stack.enter_context(update.held())
                self._model.train_step(batch)
        if not share.denominators or self._replicas == 1:
            return share.denominators
        return [mean_of_replicas(own) for own in share.denominators]


def _with_shape(leaf: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
    return leaf if leaf.shape.is_fully_defined() else tf.ensure_shape(leaf, spec.shape)


def require_graph(model: keras.Model) -> None:
    """Refuses a model that was compiled to run eagerly.

    Raises:
        ConfigError: it was.
    """
    if model.run_eagerly:
        raise ConfigError(
            "The model is compiled with run_eagerly=True, which can't run on several replicas; "
            "expected False. Leave it out of compile()."
        )


def uses_xla(model: keras.Model, *, asked: bool, replicas: int) -> bool:
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
            "expected synchronized=False with --jit or jit_compile=True. Leave one out."
        )
    return True
