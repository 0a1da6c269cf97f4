"""A process that goes on after a training, or has begun long before it: a notebook, ten folds."""

import json
import sys

import pytest

from tests.jobs.one_process import FOLDS
from tests.jobs.workers import free_addresses, start_all

pytestmark = pytest.mark.long

DEADLINE_SECONDS = 240


def _seen(folder, scene, *arguments):
    """What a scene saw, for each list of its last arguments a process of its own, at once."""
    several = arguments or ((),)
    program = [sys.executable, "-m", "tests.jobs.one_process", scene, str(folder)]
    ended = start_all([[*program, *each] for each in several], deadline_seconds=DEADLINE_SECONDS)
    assert [each.code for each in ended] == [0] * len(several), ended
    names = ["-".join((scene, *each[-1:])) for each in several]
    return [json.loads((folder / f"{name}.json").read_text()) for name in names]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """What a notebook saw in which TensorFlow had been used before the first training."""
    return _seen(tmp_path_factory.mktemp("notebook"), "after_other_work")[0]


def test_one_worker_trains_in_a_process_in_which_tensorflow_was_used_before(notebook):
    assert notebook["trained"] == notebook["again"] == notebook["in_thread"]


def test_what_tensorflow_cannot_change_any_more_is_refused_in_a_line(notebook):
    message = notebook["logical devices"]
    assert message.startswith("--devices=2 came too late")
    assert "has made 1 of them; expected" in message
    assert "leave --devices out" in message
    assert "Start a new process" in notebook["several workers"]


def test_a_model_that_is_not_new_is_refused_by_its_name(notebook):
    assert "whose sequential/conv2d/kernel was made before" in notebook["model of before"]
    assert "was trained before; expected a new one" in notebook["model twice"]


def test_a_second_training_at_the_same_time_is_refused(notebook):
    assert "Another training of this process goes on" in notebook["at the same time"]


def test_a_model_that_was_trained_still_predicts(notebook):
    assert notebook["predicted"] == [5, 4]


def test_what_a_training_sets_for_the_whole_process_ends_with_it(notebook):
    assert notebook["precision"] == ["float32", "float32"]
    assert notebook["modules"] == []


# T24
def test_a_worker_of_several_that_used_tensorflow_before_is_refused_before_it_waits(tmp_path):
    (seen,) = _seen(tmp_path, "workers_after_other_work")
    assert "was used before in this process, worker 0 of 2" in seen["refused"]
    assert "restart the kernel" in seen["refused"]


@pytest.mark.parametrize("devices", [0, 2])
def test_a_training_leaves_neither_threads_nor_memory_also_if_it_fails(tmp_path, devices):
    (seen,) = _seen(tmp_path, "folds", (str(devices),))
    threads, _, memory = zip(*seen["seen"], strict=True)
    # A thread of TensorFlow's own pools may come late; each training had brought 13 or 26.
    assert threads[-1] <= threads[2] + 3, threads
    # It was 15 MiB on two devices and 7 on one, in plain Keras it is 3.
    assert (memory[-1] - memory[2]) / (FOLDS - 1) < 3.0, memory
    assert ("came too late" in seen["other devices"]) or ("new process" in seen["other devices"])


def test_workers_stop_watching_each_other_when_a_training_ends(tmp_path):
    hosts = ",".join(free_addresses(2))
    for seen in _seen(tmp_path, "folds_of_workers", (hosts, "0"), (hosts, "1")):
        threads, watches, _ = zip(*seen["seen"], strict=True)
        assert watches == (0, 0, 0, 0)
        assert threads[-1] <= threads[1] + 3, threads
