"""The generator that `keras.random` draws with where it is given none."""

import keras
import tensorflow as tf

from tfscale.fit.keras.seams import global_state, seed_generator


class GlobalRandom:
    """Keras's global generator, made before a step is traced: a traced step can't make it.

    Args:
        strategy: whose replicas each draw their own numbers.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        """Makes it, where the process has none yet."""
        with strategy.scope():
            self._generator = seed_generator.global_seed_generator()

    @property
    def state(self) -> keras.Variable:
        """Its state, which no model has."""
        return self._generator.state

    def use_here(self) -> None:
        """Makes it this thread's: Keras has one for each, and traces each replica in its own."""
        global_state.set_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR, self._generator)
