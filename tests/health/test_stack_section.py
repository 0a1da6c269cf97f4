"""What a stack means, from invented stacks and from real ones."""

import importlib
import sys
import threading
from pathlib import Path

import keras
import pytest

from tfscale.health import stack_section
from tfscale.health.deadlines import BETWEEN, DATA, END, EVALUATION, SAVING, START, STEP
from tfscale.health.stack_section import Frame, place_of, stack_of, stack_of_error

RUN = Frame("tfscale.training", "run")
FIT = Frame("tfscale.training", "train")
LIST = Frame(stack_section.HOOKS, "CallbackList.on_epoch_end")
MINE = Frame("mine", "Losses.on_epoch_end", "/home/me/model.py", 31)
LOOP = Frame("tfscale.fit.training_loop", "TrainingLoop.take")
TEST = Frame("tfscale.fit.evaluate.evaluation", "Evaluation.test_call")
DEVICE = Frame("tensorflow.python.eager.execute", "quick_execute")
SAY = Frame("tfscale.startup.messages", "Notes.say")
ALONE = Frame("tfscale.fit.callbacks.chief_callbacks", "OnChief.run.<locals>.run_members")


def _place(*frames, is_started=True):
    return place_of([*frames, RUN], is_started=is_started)


@pytest.mark.parametrize(
    "names", [stack_section.LOOPS, stack_section.PARTS, [stack_section.FIT, stack_section.ALONE]]
)
def test_the_functions_that_stand_for_a_section_are_there(names):
    for module, function in names:
        text = Path(importlib.import_module(module).__file__).read_text()
        assert f"def {function}(" in text, (module, function)


def test_modules_that_mean_something_are_there():
    for module in (stack_section.BOARD, stack_section.HOOKS, stack_section.PYTHON_IN_GRAPH):
        assert importlib.import_module(module)


def test_a_hook_of_a_callback_is_named_with_its_class_and_line():
    found = _place(MINE, LIST, FIT)
    assert (found.section, found.what) == (
        "on_epoch_end",
        "in on_epoch_end of Losses (model.py:31)",
    )
    assert found.is_in_fit
    assert not found.waits


def test_a_hook_that_waits_for_the_chief_waits():
    assert _place(
        SAY, Frame("tfscale.fit.callbacks.chief_callbacks", "Chief.run_hook"), LIST, FIT
    ).waits


def test_a_loop_on_the_device_waits_and_one_that_traces_does_not():
    found = _place(DEVICE, LOOP, FIT)
    assert (found.section, found.is_on_device, found.waits) == (STEP, True, True)
    tracing = _place(Frame("mine", "Net.call", "/home/me/model.py", 3), LOOP, FIT)
    assert (tracing.is_on_device, tracing.waits) == (False, False)
    assert tracing.what == "preparing a step (call, model.py:3)"


def test_an_evaluation_of_the_chief_alone_waits_for_nobody():
    assert _place(DEVICE, TEST, FIT).waits
    assert not _place(DEVICE, TEST, MINE, ALONE, LIST, FIT).waits


def test_parts_of_a_run_are_told_apart():
    read = Frame("tfscale.data.splits", "read_splits")
    load = Frame("mine", "load", "/home/me/data.py", 12)
    assert _place(load, read, is_started=False).section == DATA
    assert _place(load, read, is_started=False).what == "reading its data (load, data.py:12)"
    assert _place(is_started=False).section == START
    assert _place(MINE, LIST, FIT, is_started=False).section == START
    assert _place(FIT).section == BETWEEN
    assert (
        _place(Frame("tfscale.checkpoints.checkpointer", "Keeper.at_point"), FIT).section == SAVING
    )
    assert _place(Frame("tfscale.ending", "finish")).section == SAVING
    assert _place(Frame("tfscale.ending", "evaluate")).section == EVALUATION
    assert _place().section == END


def test_the_stack_of_a_thread_in_a_callback_of_keras_is_seen_from_another_one():
    arrived, leaves, found = threading.Event(), threading.Event(), []

    class Mine(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            arrived.set()
            leaves.wait(60.0)

    callbacks = keras.callbacks.CallbackList([Mine()])
    thread = threading.Thread(target=callbacks.on_epoch_end, args=(0,))
    thread.start()
    arrived.wait(60.0)
    found, is_debugged = stack_of(thread.ident)
    leaves.set()
    thread.join(60.0)
    what = place_of(found, is_started=True).what
    assert what.startswith("in on_epoch_end of Mine (test_stack_section.py:")
    assert not is_debugged


def test_a_thread_that_somebody_debugs_is_seen():
    before = sys.gettrace()
    found = []

    def traced():
        found.append(stack_of(threading.get_ident())[1])

    sys.settrace(lambda frame, event, argument: lambda *_: None)
    try:
        traced()
    finally:
        sys.settrace(before)
    assert found == [True]


def test_an_error_says_where_it_came_from():
    def fails():
        raise RuntimeError("here")

    with pytest.raises(RuntimeError) as caught:
        fails()
    assert stack_of_error(caught.value)[0].function.endswith("fails")
