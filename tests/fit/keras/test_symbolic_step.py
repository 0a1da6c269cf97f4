import keras
import pytest
import tensorflow as tf

from tfscale.fit.keras.symbolic_step import trace_symbolically

SPEC = (tf.TensorSpec([2, 3]), tf.TensorSpec([2, 1]))


class Own(keras.Model):
    """Has no `call`, and what it consists of is built by its step only."""

    def __init__(self):
        super().__init__()
        self.layer = keras.layers.Dense(1)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.layer(x) - y))
        weights = self.layer.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


def _compiled():
    model = Own()
    model.compile(keras.optimizers.Adam())
    return model


def test_a_rehearsal_builds_a_model_by_its_step_and_changes_nothing():
    model = _compiled()
    before = keras.optimizers.Adam.apply
    found = trace_symbolically(model.train_step, SPEC)
    assert found.optimizers == [model.optimizer]
    assert model.optimizer.built and int(model.optimizer.iterations) == 0
    assert [tuple(one.shape) for one in model.layer.variables] == [(3, 1), (1,)]
    assert keras.optimizers.Adam.apply is before


def test_an_optimizer_of_the_users_own_does_not_update_either():
    class Updating(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            pytest.fail("updates")

    model = Own()
    model.compile(Updating())
    assert trace_symbolically(model.train_step, SPEC).optimizers == [model.optimizer]


def test_keras_still_cannot_build_a_model_by_its_step():
    # When this fails, Keras may build what a rehearsal is for.
    model = _compiled()
    with pytest.raises(RuntimeError, match=r"`call\(\)` method"):
        model._symbolic_build(data_batch=SPEC)
    assert not model.layer.built and not model.optimizer.built
