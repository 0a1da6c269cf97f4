import keras
import pytest
from keras import ops

from tfscale.fit.keras.model_without_weights import unallocated_model


def _layers(*layers):
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])
    return keras.saving.serialize_keras_object(model)


def _values_given_by_the_next_scope(monkeypatch):
    given = []
    original = keras.Variable._deferred_initialize
    monkeypatch.setattr(
        keras.Variable, "_deferred_initialize", lambda self: given.append(self) or original(self)
    )
    with keras.StatelessScope():
        ops.ones(())
    return given


def test_its_variables_have_shapes_and_never_get_values(monkeypatch):
    made = unallocated_model(_layers(keras.layers.BatchNormalization()))
    assert [tuple(one.shape) for one in made.weights] == [*[(3,)] * 4, (3, 2), (2,)]
    assert not _values_given_by_the_next_scope(monkeypatch)


def test_nothing_is_left_of_a_model_that_cannot_be_made(monkeypatch):
    class Eager(keras.layers.Layer):
        def build(self, shape):
            self.add_weight(shape=(3,))
            keras.Variable([1.0])

        def call(self, x):
            return x

    known = {"Eager": Eager}
    with keras.saving.custom_object_scope(known), pytest.raises(ValueError, match="stateless"):
        unallocated_model(_layers(Eager()))
    assert not _values_given_by_the_next_scope(monkeypatch)


def test_keras_still_gives_values_later_to_what_it_made_without(monkeypatch):
    # When this fails, the list of what waits need not be looked after.
    with keras.StatelessScope(initialize_variables=False):
        made = keras.saving.deserialize_keras_object(_layers())
    given = _values_given_by_the_next_scope(monkeypatch)
    assert {id(one) for one in given} >= {id(one) for one in made.weights}
