"""The store of keys through connections that break; tests/jobs/test_cut_links has real ones."""

import pytest
import tensorflow as tf

from tfscale.startup import key_value_store
from tfscale.startup.key_value_store import Store

CUT = tf.errors.UnavailableError(None, None, "Socket closed")
THERE = tf.errors.AlreadyExistsError(None, None, "there")


class _Keys:
    """TensorFlow's, of which each question fails with the next of some errors, if it isn't None."""

    def __init__(self, *errors):
        self.errors, self.asked = list(errors), 0

    def _answer(self, *given):
        self.asked += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return "what is written"

    get_config_key_value = set_config_key_value = delete_config_key_value = _answer
    wait_at_barrier = _answer


@pytest.fixture
def make(monkeypatch):
    """A store whose worker 0 answers or doesn't, in the order of a list, and in the end does."""

    def made(*errors, answers=()):
        keys, left = _Keys(*errors), list(answers)

        async def is_answering(address):
            assert address == "a:1"
            return left.pop(0) if left else True

        monkeypatch.setattr(key_value_store, "is_answering", is_answering)
        monkeypatch.setattr(key_value_store, "_PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(key_value_store.context, "context", lambda: keys)
        return Store("a:1"), keys

    return made


@pytest.mark.parametrize("times", [0, 1, 12])
def test_who_waits_still_waits_after_its_connection_was_cut_off(make, times):
    found, keys = make(*[CUT] * times)
    assert found.get("key") == "what is written"
    assert keys.asked == times + 1


def test_what_is_put_and_removed_is_so_in_spite_of_a_cut(make):
    found, keys = make(CUT, None, CUT)
    found.put("key", "value")
    found.remove("key")
    assert keys.asked == 4


def test_a_key_that_another_one_has_written_is_refused(make):
    found, _ = make(THERE)
    with pytest.raises(tf.errors.AlreadyExistsError):
        found.put("key", "value")


def test_a_key_whose_answer_was_lost_is_written(make):
    found, keys = make(CUT, THERE)
    found.put("key", "value")
    assert keys.asked == 2


def test_nobody_is_asked_for_ever(make):
    found, keys = make(*[CUT] * 100, answers=[False] * 100)
    with pytest.raises(tf.errors.UnavailableError):
        found.get("key")
    assert keys.asked == 5


def test_a_worker_that_is_silent_for_a_while_is_asked_again(make):
    found, keys = make(*[CUT] * 9, answers=[False, False, False, False, True] * 2)
    assert found.get("key") == "what is written"
    assert keys.asked == 10


def test_what_does_not_come_in_time_is_not_asked_for_again(make):
    found, keys = make(tf.errors.DeadlineExceededError(None, None, "too late"))
    with pytest.raises(tf.errors.DeadlineExceededError):
        found.get("key", 0.5)
    assert keys.asked == 1


def test_a_barrier_that_fails_again_and_again_has_failed(make):
    found, keys = make(*[CUT] * 9)
    with pytest.raises(tf.errors.UnavailableError):
        found.meet("end", 600.0)
    assert keys.asked == 3
    found, keys = make(CUT)
    found.meet("end", 600.0)
    assert keys.asked == 2


def test_a_time_that_is_nearly_over_is_not_for_ever(make, monkeypatch):
    found, keys = make()
    given = []
    monkeypatch.setattr(keys, "get_config_key_value", lambda key, wait: given.append(wait) or "")
    found.get("key", 0.0004)
    found.get("key")
    assert given == [1, 0]
