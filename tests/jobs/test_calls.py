"""What a callback does and what a user asks the model is as in plain Keras, on any shape."""

import pickle
import sys

import numpy as np
import pytest

from tests.jobs.workers import free_addresses, start_all

pytestmark = pytest.mark.long

PLAIN = (1, 0)
SHAPES = [(1, 1), (1, 2), (2, 1)]
COMPARED = ("every_batch", "stopping", "saving", "executions", "evaluated_in_between")
ASKED = ("several_inputs", "several_inputs_everywhere")
OURS = ("without_hooks", "once", "refused_data")
REFUSED = 2  # tfscale.CONFIG_CODE


def _commands(out, shape, scenes):
    num_workers, devices = shape
    hosts = ",".join(free_addresses(num_workers)) if num_workers > 1 else ""
    program = [sys.executable, "-m", "tests.jobs.calls", str(out), hosts]
    return [[*program, str(rank), str(devices), *scenes] for rank in range(num_workers)]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What a scene gave on each worker: played(shape, scene)[worker]."""
    folders = {}
    for shape in (PLAIN, *SHAPES):
        folders[shape] = tmp_path_factory.mktemp(f"{shape[0]}x{shape[1]}")
    for together in ((PLAIN, (1, 1)), ((1, 2),), ((2, 1),)):
        commands = [
            command
            for shape in together
            for command in _commands(
                folders[shape], shape, (*COMPARED, *ASKED, *(() if shape == PLAIN else OURS))
            )
        ]
        ended = start_all(commands, deadline_seconds=240, is_warm=True)
        failed = [worker for worker in ended if worker.code != 0]
        assert not failed, f"exit code {failed[0].code}:\n{failed[0].err[-4000:]}"

    def results(shape, scene):
        paths = [folders[shape] / f"{scene}-{rank}.pickle" for rank in range(shape[0])]
        return [pickle.loads(path.read_bytes()) for path in paths]  # noqa: S301  # our own

    return results


def _assert_same(found, expected, path=""):
    """The same structure, kinds and texts, and numbers to 1e-6 of their size."""
    assert type(found) is type(expected), (path, type(found), type(expected))
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for name in expected:
            _assert_same(found[name], expected[name], f"{path}/{name}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), path
        for number, value in enumerate(expected):
            _assert_same(found[number], value, f"{path}/{number}")
    elif isinstance(expected, np.ndarray) and expected.dtype != object:
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), path
        wide = complex if np.iscomplexobj(expected) else "float64"
        epsilon = 1e-2 if expected.dtype.itemsize == 2 else 1e-6
        np.testing.assert_allclose(
            found.astype(wide), expected.astype(wide), rtol=epsilon, atol=1e-6, err_msg=path
        )
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), path
    else:
        np.testing.assert_array_equal(found, expected, err_msg=path)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scene", COMPARED)
def test_callbacks_are_called_at_the_batches_of_plain_keras(played, shape, scene):
    """M12: cyclic rate, rate finder, save_freq, update_freq, steps_per_execution."""
    (expected,) = played(PLAIN, scene)
    chief, *others = played(shape, scene)
    for name in expected:
        _assert_same(chief[name], expected[name], f"{scene}/{name}")
    for other in others:
        for name in ("weights", "history"):
            _assert_same(other[name], expected[name], f"{scene}/{name} of the other worker")


def test_what_plain_keras_does_is_what_the_issue_says(played):
    assert played(PLAIN, "every_batch")[0]["end"] == [*range(25), *range(25)]
    assert played(PLAIN, "saving")[0]["files"][:3] == [
        "1-14.weights.h5",
        "1-21.weights.h5",
        "1-7.weights.h5",
    ]
    assert len(played(PLAIN, "stopping")[0]["seen"]) == 33


@pytest.mark.parametrize("shape", SHAPES)
def test_the_plan_says_who_wants_every_batch(played, shape):
    plan = played(shape, "every_batch")[0]["plan"]
    assert plan["callbacks"].startswith("Cyclic wants every batch of fit; Cyclic wants every batch")
    assert "callbacks" not in played(shape, "without_hooks")[0]["plan"]


@pytest.mark.parametrize("shape", SHAPES)
def test_python_is_entered_seldom_where_nobody_wants_batches(played, shape):
    assert len(played(shape, "without_hooks")[0]["seen"]) < 20 * 25 / 4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scene", ASKED)
def test_predict_and_evaluate_take_what_keras_takes_and_give_what_it_gives(played, shape, scene):
    """M28: lists, dicts, data sets, generators, sequences, steps, batch sizes, texts."""
    (expected,) = played(PLAIN, scene)
    for worker, found in enumerate(played(shape, scene)):
        if worker and scene == "several_inputs":
            assert found == {}  # the chief asked alone
            continue
        for name in expected:
            if name != "refused":
                ours, theirs = (_without_output_losses(each[name]) for each in (found, expected))
                _assert_same(ours, theirs, name)
        for name, (is_value_error, told) in expected["refused"].items():
            assert found["refused"][name][0] is is_value_error is True
            assert told.split(".")[0].split("\n")[0] in found["refused"][name][1]


def _without_output_losses(scores):
    """Keras gives the loss of an output as the mean over batches of different sizes."""
    if not isinstance(scores, dict):
        return scores
    return {name: value for name, value in scores.items() if not name.endswith("_loss")}


@pytest.mark.parametrize("shape", SHAPES)
def test_data_that_cant_be_taken_are_refused_in_one_line(played, shape):
    refused = played(shape, "refused_data")[0]
    assert "got no rows; expected at least one" in refused["empty"][1]
    assert "data that never end" in refused["endless"][1]
    assert "not dense" in refused["ragged"][1]
    assert "fit() was called with data of its own" in refused["fit"][1]
    assert "train_on_batch() trains on data of its own" in refused["train_on_batch"][1]
    assert all("\n" not in told for _, told in refused.values())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_callback_of_the_users_runs_once_and_what_it_decides_holds_for_all(played, shape):
    """M27: writes once for each epoch, adds a log at random that EarlyStopping follows."""
    chief, *others = played(shape, "once")
    assert chief["lines"] == "".join(f"{epoch} True\n" for epoch in range(chief["epochs"]))
    assert chief["epochs"] < 9  # "mine" falls
    for other in others:
        assert other["asked"] == []
        assert [log for log, _ in other["heard"]] == [log for log, _ in chief["heard"]]
        assert [is_chief for _, is_chief in other["heard"]] == [False] * other["epochs"]
        _assert_same(other["history"], chief["history"])
    for asked in chief["asked"]:
        assert asked["predicted"].shape == asked["half"].shape == (37, 1)
        np.testing.assert_allclose(asked["predicted"], asked["half"], atol=1e-6)
        np.testing.assert_allclose(asked["predicted"][:2], asked["called"], atol=1e-6)
        expected = np.mean((asked["predicted"] - 0.5) ** 2)
        assert asked["evaluated"]["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("scene", "told"),
    [
        ("reading_a_metric", "Reading reads a metric, or what else each replica has its own of"),
        ("guarded_by_rank", "predict() for a worker that didn't call it"),
        (
            "other_callbacks",
            "The workers differ in the callbacks of the model file (worker 0: Early",
        ),
        ("other_data", "The workers differ in the first rows given to it"),
    ],
)
def test_what_would_hang_or_mix_ends_every_worker_with_one_line(tmp_path, scene, told):
    commands = _commands(tmp_path, (2, 1), (scene,))
    ended = start_all(commands, deadline_seconds=60, is_warm=True)
    for worker in ended:
        lines = [line for line in worker.err.splitlines() if told in line]
        assert worker.code == REFUSED, worker.err[-2000:]
        assert len(set(lines)) == 1, worker.err[-2000:]
