"""A stream whose order depends on time: put in order, or refused when workers read otherwise."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.jobs.workers import start_all, worker_commands

pytestmark = [pytest.mark.long, pytest.mark.promise("stream")]

SECONDS = 120
EPOCHS, STEPS, SIZE = 2, 10, 120


def _train(tmp_path, kind, *, num_workers=2):
    flags = [
        *("--dataset=tests/jobs/order_dataset.py", f"--dataset_option=kind={kind}"),
        *("--model=tests/faults/ledger_model.py", "--batch_size=12", f"--epochs={EPOCHS}"),
        *(f"--steps_per_epoch={STEPS}", f"--run_dir={tmp_path / 'run'}"),
    ]
    commands = worker_commands(flags, num_workers=num_workers)
    return start_all(commands, deadline_seconds=SECONDS, is_warm=True)


def test_threads_that_may_order_a_stream_show_each_example_once_to_two_workers(tmp_path):
    ended = _train(tmp_path, "tf.data")
    assert [one.code for one in ended] == [0, 0], ended
    last = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    (kernel,) = load_file(last / "weights.safetensors").values()
    # Plain Keras in one process sees each once an epoch, too.
    np.testing.assert_array_equal(-kernel.ravel(), np.full(SIZE, float(EPOCHS)))


def test_a_generator_that_threads_feed_is_refused_when_workers_have_read_other_numbers(tmp_path):
    ended = _train(tmp_path, "generator")
    assert [one.code for one in ended] == [2, 2], ended
    for one in ended:
        last = one.err.strip().splitlines()[-1]
        assert "load('train') has given other records, or another order" in last
        assert "imap_unordered" in last
    alone = _train(tmp_path / "alone", "generator", num_workers=1)
    assert alone[0].code == 0, alone
    assert json.loads((tmp_path / "alone" / "run" / "report.json").read_text())["steps"] == 20
