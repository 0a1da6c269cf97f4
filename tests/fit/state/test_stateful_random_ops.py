import keras
import tensorflow as tf

from tfscale.fit.state.stateful_random_ops import random_operations


def _found(draw):
    found = []

    @tf.function(autograph=False)
    def step():
        value = draw()
        found.append(random_operations())
        return value

    step.get_concrete_function()
    return found[0]


def test_numbers_that_tensorflow_counts_are_found_wherever_they_are_drawn():
    assert _found(lambda: tf.random.normal([2])) == ["RandomStandardNormal"]
    inner = tf.function(lambda: tf.random.shuffle([1, 2, 3]), autograph=False)
    assert _found(inner) == ["RandomShuffle"]
    nothing = tf.constant(0.0)
    branch = lambda: tf.cond(nothing > 1, lambda: nothing, lambda: tf.random.uniform([]))  # noqa: E731
    assert _found(branch) == ["RandomUniform"]


def test_numbers_of_a_generator_of_keras_are_not():
    generator = keras.random.SeedGenerator(1)
    assert _found(lambda: keras.random.normal([2], seed=generator)) == []
    assert _found(lambda: tf.random.stateless_uniform([2], [1, 2])) == []
