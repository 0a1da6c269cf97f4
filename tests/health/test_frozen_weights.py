from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests import keras_events
from tfscale.errors import ConfigError
from tfscale.health.frozen_weights import FrozenWeights


def _model():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)], name="net"
    )
    model.compile("sgd", "mse")
    return model


def _fit(then, epochs=3, hook="on_epoch_end"):
    model = _model()

    def change(number, logs=None):
        then(model, number)

    other = keras.callbacks.LambdaCallback(**{hook: change})
    x, y = np.ones((8, 3)), np.ones((8, 2))
    watch = FrozenWeights()
    watch.begin(None, SimpleNamespace(model=model))
    keras_events.fit(model, watch, [other], x, y, batch_size=2, epochs=epochs)
    return model


def _freeze_at(when):
    def then(model, number):
        if number == when:
            model.layers[0].trainable = False

    return then


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end", "on_train_batch_end"])
def test_weights_that_are_frozen_while_training_are_noticed(hook):
    with pytest.raises(ConfigError) as caught:
        _fit(_freeze_at(1), hook=hook)
    assert "changed which weights are trained, from 26 to 10" in str(caught.value)


def test_what_is_changed_before_the_first_step_counts_as_the_start():
    assert len(_fit(_freeze_at(0), hook="on_epoch_begin").trainable_variables) == 2


def test_what_is_changed_and_changed_back_before_the_next_step_does_not_matter():
    def twice(model, number):
        model.layers[0].trainable = False
        model.layers[0].trainable = True

    assert len(_fit(twice).trainable_variables) == 4
