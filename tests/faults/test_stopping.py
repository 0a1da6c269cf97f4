"""R6, R8 and C1 for runs that are stopped: SIGTERM and SIGINT, on one worker and on several."""

import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.faults.runs import checkpoints, result, train

pytestmark = pytest.mark.long

STOP = "--model_option=signal_at=17"
PLAIN = "--model_option=random_layers=False"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A run without a break on two workers."""
    folder = tmp_path_factory.mktemp("clean")
    assert [ended.code for ended in train(folder)] == [0, 0]
    return result(folder)


def _stopped(folder, *more, num_workers=2):
    """Stops a run, looks at how it has ended, and gives what its workers have said."""
    ended = train(folder, STOP, *more, num_workers=num_workers)
    assert [one.code for one in ended] == [143] * num_workers, ended
    for one in ended:
        last = one.err.strip().splitlines()[-1]
        assert "the same command resumes from it." in last
        assert "Traceback" not in one.err
    return [one.err for one in ended]


@pytest.mark.promise("resuming")
@pytest.mark.promise("stops")
@pytest.mark.parametrize(("number", "rank"), [("SIGTERM", 1), ("SIGINT", 0)])
def test_whoever_is_stopped_all_save_the_same_step_and_go_on_bit_for_bit(
    tmp_path, clean, number, rank
):
    which = f"--model_option=signal_number={int(signal.Signals[number])}"
    who = f"--model_option=signal_rank={rank}"
    said = _stopped(tmp_path, which, who)
    step = checkpoints(tmp_path)[-1]
    assert step in (17, 18, 19)
    for text in said:
        assert f"Worker {rank} at 127.0.0.1:" in text
        assert f"was stopped by {number}; step {step} is saved in" in text
    assert [ended.code for ended in train(tmp_path, STOP, which, who)] == [0, 0]
    sha256, losses, report = result(tmp_path)
    assert losses == clean[1]
    assert sha256 == clean[0]
    assert (report["starts"], report["steps"]) == (2, clean[2]["steps"])


@pytest.mark.promise("resuming")
@pytest.mark.promise("stops")
def test_a_worker_alone_does_the_same(tmp_path):
    _stopped(tmp_path / "a", num_workers=1)
    assert train(tmp_path / "a", STOP, num_workers=1)[0].code == 0
    assert train(tmp_path / "b", num_workers=1)[0].code == 0
    assert result(tmp_path / "a")[:2] == result(tmp_path / "b")[:2]


@pytest.mark.promise("other_workers")
def test_a_checkpoint_of_two_workers_goes_on_with_one_and_with_three(tmp_path):
    assert [one.code for one in train(tmp_path / "clean", PLAIN)] == [0, 0]
    expected = keras.models.load_model(tmp_path / "clean" / "run" / "model.keras").get_weights()
    for num_workers in (1, 3):
        folder = tmp_path / str(num_workers)
        _stopped(folder, PLAIN)
        ended = train(folder, STOP, PLAIN, num_workers=num_workers)
        assert [one.code for one in ended] == [0] * num_workers, ended
        assert "it was written by 2 replicas" in ended[0].out
        found = keras.models.load_model(folder / "run" / "model.keras").get_weights()
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    _loads_in_plain_keras(tmp_path / "clean")


def _loads_in_plain_keras(folder):
    """The last checkpoint has the weights of the end, in the order of plain Keras."""
    model = keras.models.load_model(folder / "run" / "model.keras")
    last = Path(folder, "run", "checkpoints", f"step-{checkpoints(folder)[-1]:010d}")
    arrays = load_file(last / "weights.safetensors")
    model_of_them = keras.models.clone_model(model)
    model_of_them.set_weights([arrays[name] for name in sorted(arrays)])
    for one, other in zip(model_of_them.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
