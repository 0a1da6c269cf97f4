"""A training may go on at any step, on another number of workers, as if it had not stopped."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.jobs.going_on import GLOBAL_BATCH, NUM_EXAMPLES, RATE
from tests.jobs.workers import start_all
from tfscale.cluster.ports import free_addresses

pytestmark = [pytest.mark.long, pytest.mark.promise("epoch")]

SHARES = ((4, 2), (3, 3), (1, 1), (2, 2))  # workers, and the steps that they take
STEPS = NUM_EXAMPLES // GLOBAL_BATCH


def _taken(files, workers, first_step, steps, weights, out):
    """The weights after some steps of so many workers."""
    given = {"files": files, "first_step": first_step, "steps": steps, "weights": weights}
    hosts = ",".join(free_addresses(workers)) if workers > 1 else ""
    program = [sys.executable, "-m", "tests.jobs.going_on", json.dumps(given), str(out), hosts]
    commands = [[*program, str(rank)] for rank in range(workers)]
    for worker in start_all(commands, deadline_seconds=180, is_warm=True):
        assert worker.code == 0, worker.err[-3000:]
    with np.load(f"{out}.npz") as held:
        return [held[name] for name in held.files]


def test_an_epoch_of_4_then_3_then_1_then_2_workers_is_that_of_one(tmp_path):
    for number in range(5):
        with tf.io.TFRecordWriter(str(tmp_path / f"{number}.tfrecord")) as writer:
            for value in range(number, NUM_EXAMPLES, 5):
                writer.write(str(value).encode())
    files = str(tmp_path / "*.tfrecord")
    step, weights = 0, None
    for workers, steps in SHARES:
        out = tmp_path / f"after-{step}"
        together = _taken(files, workers, step, steps, weights, out)
        step, weights = step + steps, f"{out}.npz"
    assert step == STEPS
    alone = _taken(files, 1, 0, STEPS, None, tmp_path / "alone")
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    # Each example takes an even part of a step from the weight that is its own.
    (seen,) = (weight for weight in together if weight.shape == (NUM_EXAMPLES, 1))
    times = -seen[:, 0] * GLOBAL_BATCH / RATE
    np.testing.assert_allclose(np.unique(times.round(4)), [0.0, 1.0])
    assert int(times.round().sum()) == STEPS * GLOBAL_BATCH
