"""A model that divides by the number of replicas itself is refused; nobody else is."""

import pytest
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.checks.loss_scaling import _watched
from tfscale.fit.keras.loss_reduction import sharing
from tfscale.fit.loss_shares import EvenShare


class _Strategy:
    def __init__(self, replicas):
        self.replicas = replicas

    num_replicas_in_sync = _watched(property(lambda self: self.replicas))


def test_who_asks_within_a_step_is_named_with_what_to_do():
    with sharing(EvenShare(2)), pytest.raises(ConfigError) as caught:
        _ = 1.0 / _Strategy(2).num_replicas_in_sync
    assert "test_loss_scaling.py:" in str(caught.value)
    assert "Leave the division by the number of replicas out" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_replica_divides_by_one():
    with sharing(EvenShare(1)):
        assert _Strategy(1).num_replicas_in_sync == 1


def test_outside_of_a_step_the_number_is_nobodys_secret():
    assert _Strategy(2).num_replicas_in_sync == 2


def test_strategies_and_contexts_of_tensorflow_are_watched():
    with sharing(EvenShare(2)):
        assert tf.distribute.get_strategy().num_replicas_in_sync == 1  # as ever
    assert tf.distribute.get_replica_context().num_replicas_in_sync == 1
