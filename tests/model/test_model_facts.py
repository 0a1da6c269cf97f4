import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.model.model_facts import (
    callback_facts,
    checksum,
    described,
    facts_of,
    metric_facts,
    variable_facts,
    weight_facts,
)


def _model(*, units=4, optimizer=None, loss="mse", trainable=True, **first):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(units, trainable=trainable, **first),
            keras.layers.Dense(2, kernel_initializer="ones"),
        ]
    )
    for variable in model.layers[0].weights:
        variable.assign(np.full(variable.shape, 0.5))
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, metrics=["mae"])
    return model


def _facts(model):
    weights = weight_facts(model, tf.distribute.get_strategy(), {})
    facts = variable_facts(model) | facts_of(model) | metric_facts(model) | weights
    assert json.loads(json.dumps(facts)) == facts
    return facts


def _differing(one, other):
    first, second = _facts(one), _facts(other)
    return {name for name in first if first[name] != second[name]}


def test_a_model_that_is_made_again_is_the_same_though_keras_counts_its_names():
    assert not _differing(_model(), _model())


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"units": 5}, "the variables of the model"),
        ({"trainable": False}, "the variables of the model"),
        ({"activation": "relu"}, "the layers of the model"),
        ({"loss": "mae"}, "the loss of the model"),
        ({"optimizer": keras.optimizers.SGD(0.2)}, "the optimizer of the model"),
        ({"optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}, "the optimizer of the model"),
    ],
)
def test_what_another_model_has_is_named(change, fact):
    assert fact in _differing(_model(), _model(**change))


@pytest.mark.parametrize("layer", [0, 1])
def test_weights_that_start_as_others_differ_in_every_layer(layer):
    model = _model()
    model.layers[layer].bias.assign_add(np.full(model.layers[layer].bias.shape, 1e-7))
    assert _differing(_model(), model) == {"the weights that the model starts with"}


def test_the_random_state_of_a_replica_is_its_own():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    facts = _facts(model)["the weights that the model starts with"]
    assert [fact.split()[0] for fact in facts] == [
        "sequential/dense/kernel",
        "sequential/dense/bias",
    ]


def test_what_lies_elsewhere_on_a_node_is_not_compared():
    first = keras.layers.Lambda(lambda x: 2 * x)
    text = json.dumps(described(first))
    assert "/" not in text and "0x" not in text


def test_a_part_that_cannot_describe_itself_is_its_class():
    class Odd:
        def get_config(self):
            raise NotImplementedError

    name = "test_a_part_that_cannot_describe_itself_is_its_class.<locals>.Odd"
    assert described(Odd()) == name
    assert described(Odd) == name
    assert described({"a": (1, np.float32(2.0))})["a"][0] == 1


def test_callbacks_are_compared_by_kind_and_those_of_keras_by_their_numbers(tmp_path):
    class Own(keras.callbacks.Callback):
        everywhere = True

        def __init__(self, rank):
            super().__init__()
            self.rank = rank

    class OnChief(keras.callbacks.Callback):
        pass

    def facts(rank, patience=2):
        stop = keras.callbacks.EarlyStopping("loss", patience=patience)
        table = keras.callbacks.CSVLogger(str(tmp_path / f"worker-{rank}.csv"))
        on_chief = [] if rank else [OnChief()]
        return callback_facts([stop, table, Own(rank), *on_chief])

    assert facts(0) == facts(1)
    assert facts(0) != facts(0, patience=3)
    assert "EarlyStopping(" in str(facts(0)) and "patience=2" in str(facts(0))


@pytest.mark.parametrize(
    "array",
    [np.array(1.5), np.zeros((0, 3)), np.array(["a", "b"], object), np.arange(6).reshape(2, 3).T],
)
def test_every_array_has_a_checksum(array):
    assert checksum(array) == checksum(array.copy())


def test_another_bit_is_another_checksum():
    one = np.ones(1000, np.float32)
    other = one.copy()
    other[999] = np.nextafter(other[999], np.float32(9))
    assert checksum(one) != checksum(other)
