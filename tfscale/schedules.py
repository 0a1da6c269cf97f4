"""How fast to learn: the optimizers, and a rate that follows the batch and the course of a run."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from tfscale.config import Config

# For 256 examples a step: sgd and lars after the ResNet recipes of Goyal and You, the adaptive two
# after their papers' ranges. Every run may say --learning_rate instead.
DEFAULT_LEARNING_RATES = {"sgd": 0.1, "adamw": 1e-3, "lamb": 2e-3, "lars": 2.0}
_NOT_DECAYED = ("bias", "gamma", "beta", "scale")


@dataclass(frozen=True)
class LearningRate:
    """The peak of a run's learning rate and how it came about.

    Args:
        peak: after the warm-up.
        base: what was asked for, for `base_batch` examples a step.
        base_batch: examples.
        global_batch: examples per step of this run.
        warmup_steps: steps in which it rises from zero.
        total_steps: steps of the run.
        schedule: "cosine" or "constant".
    """

    peak: float
    base: float
    base_batch: int
    global_batch: int
    warmup_steps: int
    total_steps: int
    schedule: str

    def __str__(self) -> str:
        """The rate and its scaling in words."""
        return (
            f"{self.peak:.4g} = {self.base:.4g} x {self.global_batch} / {self.base_batch}; "
            f"{self.warmup_steps} steps of warm-up, then {self.schedule}, "
            f"{self.total_steps} steps in all"
        )

    def as_schedule(self) -> Any:  # noqa: ANN401 - a number or a Keras schedule
        """What a Keras optimizer takes as its `learning_rate`.

        Linear scaling and warm-up after P. Goyal et al., "Accurate, Large Minibatch SGD", 2017,
        https://arxiv.org/abs/1706.02677; cosine after I. Loshchilov and F. Hutter, "SGDR", 2016,
        https://arxiv.org/abs/1608.03983.
        """
        if self.schedule == "constant" and not self.warmup_steps:
            return self.peak  # a plain number, which callbacks such as ReduceLROnPlateau may set
        decay = keras.optimizers.schedules.CosineDecay
        if not self.warmup_steps:
            return decay(self.peak, max(1, self.total_steps))
        return decay(
            initial_learning_rate=0.0,
            warmup_target=self.peak,
            warmup_steps=self.warmup_steps,
            decay_steps=max(1, self.total_steps - self.warmup_steps),
            alpha=1.0 if self.schedule == "constant" else 0.0,
        )


def learning_rate(config: Config, *, steps_per_epoch: int) -> LearningRate:
    """Scales the learning rate with the global batch and lays out its course."""
    total_steps = steps_per_epoch * config.epochs
    base = config.learning_rate or DEFAULT_LEARNING_RATES[config.optimizer]
    return LearningRate(
        peak=base * config.batch_size / config.base_batch_size,
        base=base,
        base_batch=config.base_batch_size,
        global_batch=config.batch_size,
        warmup_steps=round(total_steps * config.warmup_fraction),
        total_steps=total_steps,
        schedule=config.schedule,
    )


def make_optimizer(config: Config, rate: LearningRate) -> keras.optimizers.Optimizer:
    """Makes the optimizer of `config`, without weight decay for biases and scales."""
    decay = config.weight_decay or None
    arguments: dict[str, Any] = {"learning_rate": rate.as_schedule(), "weight_decay": decay}
    made: keras.optimizers.Optimizer
    if config.optimizer == "sgd":
        made = keras.optimizers.SGD(momentum=config.momentum, **arguments)
    elif config.optimizer == "adamw":
        made = keras.optimizers.AdamW(**{**arguments, "weight_decay": config.weight_decay})
    elif config.optimizer == "lamb":
        made = keras.optimizers.Lamb(**arguments)
    else:
        made = LARS(
            learning_rate=rate.as_schedule(),
            momentum=config.momentum,
            trust_weight_decay=config.weight_decay,
        )
    if decay:
        made.exclude_from_weight_decay(var_names=list(_NOT_DECAYED))
    return made


@keras.saving.register_keras_serializable(package="tfscale")
class LARS(keras.optimizers.Optimizer):
    """Layer-wise adaptive rate scaling, for batches of many thousand examples.

    Y. You, I. Gitman and B. Ginsburg, "Large Batch Training of Convolutional Networks", 2017,
    https://arxiv.org/abs/1708.03888, algorithm 1: each layer's rate is multiplied by
    `trust * |w| / (|g| + decay * |w|)`, its weight decay is part of the gradient, and momentum
    follows. Biases and scales (rank below 2) learn with the plain rate and no decay, as in the
    MLPerf reference.

    Args:
        learning_rate: a number or a Keras schedule.
        momentum: 0 to 1.
        trust_weight_decay: decay inside the trust ratio.
        trust_coefficient: `trust` above.
        epsilon: keeps the ratio finite.
        name: of the optimizer.
        **kwargs: as every Keras optimizer takes them.
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,  # noqa: ANN401
        momentum: float = 0.9,
        trust_weight_decay: float = 1e-4,
        trust_coefficient: float = 0.001,
        epsilon: float = 1e-9,
        name: str = "lars",
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Makes an optimizer without variables; they come with the model's."""
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.trust_weight_decay = trust_weight_decay
        self.trust_coefficient = trust_coefficient
        self.epsilon = epsilon

    def build(self, variables: list[Any]) -> None:
        """Makes one momentum variable for each variable."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:  # noqa: ANN401
        """Updates one variable with its reduced gradient."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(ops.convert_to_tensor(gradient), variable.dtype)
        if len(variable.shape) > 1:
            weight_norm, gradient_norm = _norm(variable), _norm(gradient)
            ratio = (
                self.trust_coefficient
                * weight_norm
                / (gradient_norm + self.trust_weight_decay * weight_norm + self.epsilon)
            )
            both = ops.logical_and(weight_norm > 0, gradient_norm > 0)
            rate = rate * ops.where(both, ratio, ops.ones_like(ratio))
            gradient = gradient + self.trust_weight_decay * variable
        momentum = self.momentums[self._get_variable_index(variable)]
        velocity = self.momentum * momentum + rate * gradient
        self.assign(momentum, velocity)
        self.assign_sub(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments that make the same optimizer again."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust_weight_decay": self.trust_weight_decay,
            "trust_coefficient": self.trust_coefficient,
            "epsilon": self.epsilon,
        }


def _norm(tensor: Any) -> Any:  # noqa: ANN401
    return ops.norm(ops.reshape(tensor, [-1]))
