from collections import deque

import keras
import numpy as np

from tfscale.checkpoints.callback_states import CallbackStates


class Keeps(keras.callbacks.Callback):
    def __init__(self, limit=3):
        super().__init__()
        self.limit = limit
        self.count = 0
        self.helper = object()
        self.last = None

    def on_train_begin(self, logs=None):
        self.left = 5
        self.count = -1


class Knows(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.inside = object()
        self.value = 0

    def get_state(self):
        return {"value": self.value}

    def set_state(self, state):
        self.value = state["value"] + 100


def _passed_on(change, kind=Keeps):
    """What another callback of the kind has, after a change of the first one and a restart."""
    first, second = kind(), kind()
    before, after = CallbackStates([first]), CallbackStates([second])
    first.on_train_begin(), before.begin()
    change(first)
    said, arrays = before.read()
    second.on_train_begin(), after.begin()
    assert after.write(said, arrays) == []
    return second, said, arrays


VALUES = (
    *(True, 7, -1.5, "text", [1, [2.0, "x"]], (1, (2,)), {1, 2}, deque([3, 4]), {"a": {"b": [1]}}),
    *({3: "key that is a number"}, np.float32(0.1), np.arange(6).reshape(2, 3), [np.ones(2)]),
    *(float("nan"), float("inf"), [], {}, np.zeros([0, 2], np.float16)),
)


def test_values_come_back_as_they_were():
    for value in VALUES:
        second, _, _ = _passed_on(lambda first, value=value: setattr(first, "last", value))
        assert type(second.last) is type(value)
        assert repr(second.last) == repr(value)


def test_a_value_that_is_again_what_it_was_made_with_comes_back_too():
    def back(first):
        first.count = 0

    assert _passed_on(back)[0].count == 0


def test_what_is_made_with_another_number_now_keeps_it():
    first, second = Keeps(limit=3), Keeps(limit=9)
    before, after = CallbackStates([first]), CallbackStates([second])
    first.count = 8
    after.write(*before.read())
    assert (second.limit, second.count) == (9, 8)


def test_arrays_are_those_of_the_moment():
    first = Keeps()
    states = CallbackStates([first])
    first.last = np.zeros(2)
    _, arrays = states.read()
    first.last += 1
    assert [array.tolist() for array in arrays.values()] == [[0, 0]]


def test_what_cant_be_held_is_named_if_it_has_changed():
    first = Keeps()
    states = CallbackStates([first])
    assert states.left_out() == []
    first.last = [np.ones(1), object()]
    assert states.left_out() == ["Keeps.last"]
    said, arrays = states.read()
    assert "last" not in said[0]["attributes"]
    assert arrays == {}


def test_a_callback_that_knows_its_state_is_asked():
    second, said, _ = _passed_on(lambda first: setattr(first, "value", 5), kind=Knows)
    assert (second.value, set(said[0]["attributes"])) == (105, {"value"})


def test_other_callbacks_begin_anew():
    first, second = Keeps(), Knows()
    said, arrays = CallbackStates([first]).read()
    assert CallbackStates([second, Keeps()]).write(said, arrays) == ["Knows", "Keeps"]
