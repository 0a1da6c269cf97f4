"""The optimizers that a run may ask for by name, LARS among them."""

from typing import Any

import keras
from keras import ops

from tfscale.settings import Config
from tfscale.structures import Foreign, Gradient, Structure

_NOT_DECAYED = ("bias", "gamma", "beta", "scale")
_MOMENTUM, _DECAY = 0.9, 1e-4


def make_optimizer(config: Config, learning_rate: Foreign) -> keras.optimizers.Optimizer:
    """Makes the optimizer that the flags name, without weight decay for biases and scales.

    Args:
        config: `momentum` and `weight_decay` of None are 0.9 and 1e-4 for sgd and lars, 1e-4 for
            adamw and lamb, as their recipes have them; 0 for all others, as in Keras.
        learning_rate: a number or a Keras schedule.
    """
    name, momentum, decay = config.optimizer, config.momentum, config.weight_decay
    if decay is None:
        decay = _DECAY if name in ("sgd", "adamw", "lamb", "lars") else 0.0
    options: dict[str, object] = {"weight_decay": decay or None}
    if name == "adamw":
        options = {"weight_decay": decay}  # which it can't be without
    elif name == "lars":
        options = {"trust_weight_decay": decay}
    if name in ("sgd", "lars"):
        options["momentum"] = _MOMENTUM if momentum is None else momentum
    elif momentum is not None:
        options["momentum"] = momentum
    made: keras.optimizers.Optimizer = KINDS[name](learning_rate, **options)
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
        learning_rate: Foreign = 0.1,
        momentum: float = 0.9,
        trust_weight_decay: float = 1e-4,
        trust_coefficient: float = 0.001,
        epsilon: float = 1e-9,
        name: str = "lars",
        **kwargs: Foreign,
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

    def update_step(self, gradient: Gradient, variable: Foreign, learning_rate: Foreign) -> None:
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


def _norm(tensor: Structure) -> Foreign:
    return ops.norm(ops.reshape(tensor, [-1]))


_OF_KERAS = ("SGD", "Adam", "AdamW", "RMSprop", "Lion", "Nadam", "Adagrad", "Adadelta", "Adamax")
KINDS: dict[str, Any] = {
    name.lower(): getattr(keras.optimizers, name) for name in (*_OF_KERAS, "Adafactor", "Lamb")
} | {"lars": LARS}
