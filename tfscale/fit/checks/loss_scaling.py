"""Refuses models that divide by the number of replicas themselves, as TensorFlow's guides had it.

Here gradients and losses are averaged (`keras/loss_reduction`), so that such a division would make
them smaller a second time, and nobody would notice. TensorFlow's own functions for it,
`compute_average_loss` and `scale_regularization_loss`, are understood; a number isn't.
"""

import functools
import sys

import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.keras.loss_reduction import current_share
from tfscale.structures import Foreign

_MAY_ASK = ("tensorflow", "keras", "tfscale")
_NAME = "num_replicas_in_sync"


def _watched(original: property) -> property:
    def asked(self: Foreign) -> int:
        number = int(original.__get__(self))
        caller = sys._getframe(1)  # noqa: SLF001 - who asks is the question
        package = str(caller.f_globals.get("__name__", "")).partition(".")[0]
        if number > 1 and current_share() is not None and package not in _MAY_ASK:
            place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
            raise ConfigError(
                f"{place} asks for {_NAME} within a step; expected a loss that is the mean over a "
                "replica's own examples, because gradients and losses are averaged over replicas "
                "here. Leave the division by the number of replicas out."
            )
        return number

    return property(asked)


@functools.cache
def install() -> None:
    """Watches who asks, for the whole process; outside of a step nothing is different."""
    for kind in (tf.distribute.Strategy, tf.distribute.ReplicaContext):
        owner: Foreign = next(one for one in kind.__mro__ if _NAME in vars(one))
        setattr(owner, _NAME, _watched(vars(owner)[_NAME]))
