"""Code that runs on one worker alone: what it assigns is noted, what needs the others is refused.

A strategy has no hook for either. Every assignment of a variable outside of a step comes through
its `update`, and whatever reads a variable of which each replica has its own through the others.
"""

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from tfscale.structures import Foreign

_COLLECTIVE = ("_reduce_to", "_batch_reduce_to", "_gather_to_implementation")


@contextlib.contextmanager
def no_exchange(
    strategy: tf.distribute.Strategy,
    assigned: Callable[[Foreign], None],
    refuse: Callable[[], None],
) -> Iterator[None]:
    """In the body this one strategy exchanges nothing.

    Args:
        strategy: of several workers.
        assigned: gets each variable that is assigned, before it is.
        refuse: called, and raises, where the other workers would have to take part.
    """
    extended = strategy.extended
    update = extended.update

    def noted(variable: Foreign, *args: Foreign, **kwargs: Foreign) -> Foreign:
        assigned(variable)
        return update(variable, *args, **kwargs)

    def refused(*args: Foreign, **kwargs: Foreign) -> Foreign:
        refuse()

    replaced = {"update": noted, **dict.fromkeys(_COLLECTIVE, refused)}
    for name, function in replaced.items():
        setattr(extended, name, function)
    try:
        yield
    finally:
        for name in replaced:
            delattr(extended, name)
