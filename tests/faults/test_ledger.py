"""R9: an epoch that several runs share, on other numbers of workers, has each example once."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.faults import ledger_dataset
from tests.jobs.workers import start_all, worker_commands

pytestmark = [pytest.mark.long, pytest.mark.promise("other_workers")]

SECONDS = 200
EPOCHS, STEPS = 2, 8  # of 12 examples each: 5 of 101 are left over in each epoch


@pytest.mark.parametrize(
    ("num_files", "is_stream", "workers"),
    [(7, False, (2, 3, 1, 4)), (3, True, (2, 1, 3))],
)
def test_each_example_is_seen_once_an_epoch_whoever_goes_on(
    tmp_path, num_files, is_stream, workers
):
    ledger_dataset.write(tmp_path / "data", num_files)
    steps = [3, 7, 12][: len(workers) - 1]
    flags = [
        *("--dataset=tests/faults/ledger_dataset.py", "--model=tests/faults/ledger_model.py"),
        *("--batch_size=12", f"--epochs={EPOCHS}", f"--run_dir={tmp_path / 'run'}", "--seed=9"),
        *(f"--dataset_option=folder={tmp_path / 'data'}", f"--model_option=folder={tmp_path}"),
        f"--model_option=stops={','.join(map(str, steps))}",
        *((f"--dataset_option=is_stream={is_stream}", f"--steps_per_epoch={STEPS}") * is_stream),
    ]
    for number, num_workers in enumerate(workers):
        ended = start_all(
            worker_commands(flags, num_workers=num_workers), deadline_seconds=SECONDS, is_warm=True
        )
        expected = 143 if number < len(steps) else 0
        assert [one.code for one in ended] == [expected] * num_workers, ended
        if number:
            assert "resumes from" in ended[0].out
    _require_each_once(-_weights(tmp_path).ravel(), is_stream)


def _require_each_once(seen, is_stream):
    """How often each example was seen, of all epochs together."""
    np.testing.assert_array_equal(seen, np.round(seen))
    assert seen.sum() == EPOCHS * STEPS * 12
    if is_stream:  # which has no end of an epoch but the number of its steps
        assert set(seen) <= {1.0, 2.0}
    else:
        assert set(seen) <= {0.0, 1.0, 2.0}
        assert (seen < 2).sum() <= EPOCHS * 5


def _weights(tmp_path):
    """The one weight matrix, of the last checkpoint."""
    last = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    (kernel,) = load_file(last / "weights.safetensors").values()
    return kernel
