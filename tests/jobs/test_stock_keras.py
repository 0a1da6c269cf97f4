"""What plain Keras does wrong on two replicas; who fails here says what has become superfluous.

docs/patches.md names, for each of these tests, what can go with the defect.
"""

import json
import sys

import pytest

from tests.jobs.workers import free_addresses, start_all

PROGRAM = [sys.executable, "-m", "tests.jobs.stock_keras"]


def _shown(folder, arguments):
    """What the program has shown, started once for each of these arguments."""
    commands = [[*PROGRAM, str(folder), *more] for more in arguments]
    for ended in start_all(commands, deadline_seconds=180, is_warm=True):
        assert ended.code == 0, ended.err[-2000:]
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


@pytest.fixture(scope="module")
def on_devices(tmp_path_factory):
    """On two devices of one process."""
    return _shown(tmp_path_factory.mktemp("devices"), [[]])[0]


@pytest.fixture(scope="module")
def on_workers(tmp_path_factory):
    """On two workers."""
    hosts = free_addresses(2)
    folder = tmp_path_factory.mktemp("workers")
    return _shown(folder, [[str(rank), *hosts] for rank in range(2)])


def test_keras_divides_its_own_losses_by_the_replicas_and_nobody_elses(on_devices):
    losses = on_devices["losses"]
    assert losses["of Keras"] == [2.5, 2.5]
    assert losses["by hand"] == [5.0, 5.0]


def test_tensorflows_functions_for_losses_divide_by_the_replicas(on_devices):
    losses = on_devices["losses"]
    assert losses["average"] == losses["of weights"] == [2.5, 2.5]


def test_a_replica_with_few_valid_rows_counts_as_much_as_one_with_many(on_devices):
    """Of 1, 1, 1 and 5 the mean is 2; the mean of two means is 3."""
    assert on_devices["uneven"] == {"of a mask": 3.0, "of weights": 3.0, "of numbers": 3.0}


def test_keras_clips_gradients_before_it_sums_them(on_devices):
    """K3; summed first, the weight moves by 1."""
    assert on_devices["clipping"] == pytest.approx(-1.2)


def test_keras_applies_an_overflow_of_any_replica_but_the_first(on_devices):
    """K4."""
    assert on_devices["overflow"] == "not finite"


def test_keras_cannot_set_weights_to_their_averages(on_devices):
    assert "merge_call" in on_devices["average_of_weights"]


def test_keras_sums_a_batch_to_learn_its_shape_which_words_do_not_take(on_devices):
    """K2: https://github.com/keras-team/keras/issues/20329; numbers do."""
    assert on_devices["numbers"] == ""
    assert "AddN" in on_devices["words"]


def test_keras_cannot_fit_on_several_workers(on_workers):
    """K1: https://github.com/keras-team/keras/issues/20585."""
    assert ["PerReplica" in shown["numbers"] for shown in on_workers] == [True, True]
