"""Random states of invented replicas."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.fit.state.replica_state import random_states, separate_random_states


class _Worker:
    """The strategy of a worker: the first replica has a variable itself, the others a copy."""

    def __init__(self, replicas):
        self._replicas, self._components = replicas, {}

    def experimental_local_results(self, variable):
        copies = [variable, *(tf.Variable(variable) for _ in range(self._replicas - 1))]
        return tuple(self._components.setdefault(id(variable), copies))


def _model(*seeds):
    """Dropout layers, each with its seed, beside a layer of other variables."""
    layers = [keras.layers.Dropout(0.5, seed=seed) for seed in seeds]
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(), *layers])
    return SimpleNamespace(
        non_trainable_variables=model.non_trainable_variables,
        states=[layer.seed_generator.state for layer in layers],
    )


def _states(num_workers, devices, *seeds):
    """The states of each layer, [layer][replica of the job], each (seed, counter)."""
    found = [[] for _ in seeds]
    for worker in range(num_workers):
        strategy, model = _Worker(devices), _model(*seeds)
        separate_random_states(random_states(model), strategy, worker)
        for layer, state in enumerate(model.states):
            components = strategy.experimental_local_results(state.value)
            found[layer] += [tuple(component.numpy().tolist()) for component in components]
    return found


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 2)])
def test_no_two_replicas_have_the_same_state(shape):
    for layer in _states(*shape, 1, 2):
        assert len(set(layer)) == shape[0] * shape[1]


def test_the_state_of_a_replica_depends_on_its_number_alone():
    assert _states(1, 4, 1, 2) == _states(4, 1, 1, 2) == _states(2, 2, 1, 2)


def test_replica_0_keeps_the_state_it_has():
    (layer,) = _states(2, 2, 17)
    before = tuple(_model(17).states[0].numpy().tolist())
    assert layer[0] == before
    assert {counter for _, counter in layer} == {before[1]}


def test_a_large_seed_stays_within_32_bits():
    (layer,) = _states(2, 2, 2**32 - 1)
    assert layer[0][0] == 2**32 - 1
    assert len(set(layer)) == 4


def test_other_variables_stay_as_they_are():
    model, strategy = _model(1), _Worker(2)
    others = [v for v in model.non_trainable_variables if v is not model.states[0]]
    before = [np.array(variable) for variable in others]
    separate_random_states(random_states(model), strategy, worker=1)
    assert len(others) == 2
    for variable, value in zip(others, before, strict=True):
        np.testing.assert_array_equal(variable, value)
