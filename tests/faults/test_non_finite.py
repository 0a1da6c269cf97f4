"""Steps that aren't finite: the run ends and says where it began, or goes on as without them."""

import json
import re
import sys

import pytest

from tests.faults.running import Running
from tests.jobs.workers import start_all

pytestmark = [pytest.mark.long, pytest.mark.promise("not_finite")]

SECONDS = 300  # of all kinds of one process, on a busy machine
STOPPED = ("input", "relu", "layer", "gradient", "flat", "micro_batches", "pair", "no_checkpoints")
ON_TWO = (*STOPPED, "terminate", "metric", "float16", "skip_input", "skip_pair", "skip_all")
SKIPPED = ("skip_input", "skip_gradient", "skip_flat")
ON_ONE = [name for kind in SKIPPED for name in (kind, f"plain_{kind}")]
CAUSES = {
    "input": "x of its batch isn't finite",
    "relu": "x of its batch isn't finite",
    "layer": "the first output that isn't is that of layer log .Log.",
    "gradient": "the loss is finite, and the gradient of .*norm/scale isn't",
    "flat": "every layer's output is finite, and their loss isn't",
    "micro_batches": "x of its batch isn't finite",
    "pair": "every layer's output is finite, and their loss isn't",
    "no_checkpoints": "weight .* is the first that isn't finite any more",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What came of all kinds, by the number of replicas."""
    outs = {devices: tmp_path_factory.mktemp("non-finite") for devices in (2, 1)}
    kinds = {2: ON_TWO, 1: ON_ONE}
    program = [sys.executable, "-m", "tests.faults.non_finite"]
    commands = [
        [*program, str(out), str(devices), *kinds[devices]] for devices, out in outs.items()
    ]
    for ended in start_all(commands, deadline_seconds=SECONDS, is_warm=True):
        assert ended.code == 0, ended.err
    read = {devices: json.loads((out / "found.json").read_text()) for devices, out in outs.items()}
    for each in read.values():
        for name, kind in each.items():
            assert "error" not in kind, f"{name}: {kind['error']}"
    return read


@pytest.mark.parametrize("name", STOPPED)
def test_the_line_names_the_step_and_where_it_began(found, name):
    kind, step = found[2][name], found[2]["bad steps"][0]
    assert kind["code"] == 1
    assert re.search(
        rf"\b[Ss]tep {step}\b.*worker 0 \(replica [01]\).*: {CAUSES[name]};", kind["reason"]
    )
    assert "model.keras" not in kind["files"]


def test_the_line_names_what_stays(found):
    assert "the last checkpoint, step 4, stays" in found[2]["gradient"]["reason"]
    assert "there is no checkpoint" in found[2]["no_checkpoints"]["reason"]
    assert "--on_nan=skip leaves such steps out" in found[2]["layer"]["reason"]
    assert "--on_nan" not in found[2]["flat"]["reason"]  # of a rollback


def test_a_callback_that_ends_at_nan_still_does(found):
    kind = found[2]["terminate"]
    assert len(kind["history"]) == 1  # the epoch's end was reached, as in plain Keras
    assert kind["code"] == 1 and "model.keras" not in kind["files"]


def test_what_is_no_loss_may_be_nan(found):
    kind = found[2]["metric"]
    assert kind["code"] == 0 and str(kind["history"][-1]["nan"]) == "nan"
    assert kind["report"]["non_finite_steps"] == {}


def test_overflows_of_a_scaled_loss_are_no_fault(found):
    kind = found[2]["float16"]
    assert kind["code"] == 0 and kind["scale"] < 2**15  # some did
    assert kind["report"]["non_finite_steps"] == {}


@pytest.mark.parametrize("name", ["skip_input", "skip_pair"])
def test_skipped_steps_are_counted_and_told(found, name):
    kind, steps = found[2][name], found[2]["bad steps"]
    assert kind["report"]["non_finite_steps"] == {"count": len(steps), "steps": steps}
    assert any(f"{steps[0]} was skipped" in line for line in kind["shown"])
    for logs in kind["history"]:
        assert all(value == value for value in logs.values())


def test_a_run_that_skips_everything_ends(found):
    kind = found[2]["skip_all"]
    assert kind["code"] == 1
    assert "100 steps in a row were skipped" in kind["reason"]


@pytest.mark.parametrize("name", SKIPPED)
def test_a_skipped_step_is_as_if_its_batch_were_missing(found, name):
    ours, plain = found[1][name], found[1][f"plain_{name}"]
    assert ours["report"]["non_finite_steps"]["steps"] == found[1]["bad steps"]
    assert ours["weights"] == plain["weights"]
    assert ours["history"] == plain["history"]


def test_all_workers_end_with_the_same_line_and_save_nothing_that_is_not_finite():
    flags = (
        *("--dataset=tests/faults/nan_dataset.py", "--dataset_option=poisoned=300"),
        *("--model=tests/faults/model.py", "--epochs=3", "--batch_size=24", "--seed=5"),
        "--checkpoint_every_steps=2",
    )
    with Running(2, *flags) as running:
        ended = running.all_ended(within=SECONDS)
        assert [each.code for each in ended.values()] == [1, 1]
        first, second = (told_of(each.err) for each in ended.values())
        assert first == second
        where, replica, saved = first["where"], int(first["replica"]), int(first["saved"])
        assert running.hosts[replica] == where
        assert saved < int(first["step"]) <= int(first["end"]) and saved % 2 == 0


def told_of(text):
    """What the last line of a worker tells."""
    pattern = (
        r"[Ss]tep (?P<step>\d+) .*worker \d at (?P<where>\S+) \(replica (?P<replica>\d)\).*: "
        r"(?P<cause>[^:;]*); it was found after step (?P<end>\d+); "
        r"the last checkpoint, step (?P<saved>\d+), stays"
    )
    found = re.search(pattern, text.strip().splitlines()[-1])
    assert found, text
    return found.groupdict()
