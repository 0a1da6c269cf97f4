import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import keras_events
from tfscale.report.evaluated_weights import EvaluatedWeights, weights_may_change

X, Y = np.ones((8, 3)), np.ones((8, 2))


def _model(**optimizer):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, **optimizer), "mse")
    return model


def _seen(model, *callbacks, may_change=True):
    seen = EvaluatedWeights(model, tf.distribute.get_strategy(), may_change=may_change)
    keras_events.fit(model, seen, callbacks, X, Y, validation_data=(X, Y), epochs=2)
    return seen


def _scaled(when):
    def change(model):
        model.set_weights([2.0 * weight for weight in model.get_weights()])

    class Scales(keras.callbacks.Callback):
        pass

    setattr(Scales, when, lambda self, *args, **kwargs: change(self.model))
    return Scales()


def test_weights_that_nobody_touches_are_those_that_were_evaluated():
    assert not _seen(_model()).have_changed


@pytest.mark.parametrize("when", ["on_epoch_end", "on_train_end", "on_test_end"])
def test_weights_that_a_callback_changes_after_validation_are_others(when):
    assert _seen(_model(), _scaled(when)).have_changed


def test_averages_that_are_put_in_at_the_end_are_others_unless_they_were_evaluated():
    assert _seen(_model(use_ema=True)).have_changed
    swapped = _seen(_model(use_ema=True), keras.callbacks.SwapEMAWeights())
    assert not swapped.have_changed


def test_nothing_is_read_where_nothing_can_change():
    assert not _seen(_model(), _scaled("on_epoch_end"), may_change=False).have_changed


@pytest.mark.parametrize(
    ("make", "may"),
    [
        (lambda: keras.callbacks.EarlyStopping("loss"), False),
        (lambda: keras.callbacks.EarlyStopping("loss", restore_best_weights=True), True),
        (lambda: keras.callbacks.ReduceLROnPlateau("loss"), False),
        (lambda: keras.callbacks.CSVLogger("log.csv"), False),
        (lambda: keras.callbacks.LambdaCallback(), True),
    ],
)
def test_only_callbacks_that_are_known_not_to_are_trusted(make, may):
    assert weights_may_change(_model(), [make()]) is may


def test_an_optimizer_that_averages_changes_weights_at_the_end():
    assert not weights_may_change(_model(), [])
    assert weights_may_change(_model(use_ema=True), [])
