"""The lines of a run without a progress bar: with an invented clock, step by step."""

import pytest

from tfscale.report.epoch_lines import EpochLines


class _Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def run():
    """A callback of a run of two epochs of 100 steps of 32 examples, its clock and its lines."""
    clock, shown = _Clock(), []
    lines = EpochLines(shown.append, 32, every_seconds=30.0, clock=clock)
    lines.set_params({"epochs": 2, "steps": 100})
    lines.on_train_begin()
    return lines, clock, shown


def _train(run, *, until, steps, step_seconds, loss=0.5):
    """Takes steps up to number `until` of the epoch, `steps` in each call."""
    lines, clock, _ = run
    first = lines._steps_of_epoch
    for done in range(first + steps, until + 1, steps):
        clock.now += steps * step_seconds
        lines.on_train_batch_end(done - 1, {"loss": loss, "accuracy": 0.25})


def test_the_first_step_shows_that_the_start_is_over(run):
    lines, clock, shown = run
    lines.on_epoch_begin(0)
    assert shown == []
    clock.now += 38.25
    lines.on_train_batch_end(0, {"loss": 2.3})
    assert shown == ["Epoch 1/2, step 1/100: loss 2.3000; the first step took 38.2 s"]


def test_a_line_comes_every_half_minute_with_the_speed_since_the_last_one(run):
    lines, _, shown = run
    lines.on_epoch_begin(0)
    _train(run, until=1, steps=1, step_seconds=60.0)
    _train(run, until=21, steps=1, step_seconds=1.0)
    assert len(shown) == 1
    _train(run, until=31, steps=1, step_seconds=1.0)
    assert shown[1:] == ["Epoch 1/2, step 31/100: loss 0.5000, accuracy 0.2500; 32 examples/s"]
    _train(run, until=91, steps=10, step_seconds=2.0)
    assert [line.partition(":")[0] for line in shown[2:]] == [
        "Epoch 1/2, step 51/100",
        "Epoch 1/2, step 71/100",
        "Epoch 1/2, step 91/100",
    ]
    assert shown[-1].endswith("; 16 examples/s")


def test_an_epoch_has_its_line_with_all_its_metrics_and_the_speed_of_training_alone(run):
    lines, clock, shown = run
    lines.on_epoch_begin(0)
    _train(run, until=100, steps=1, step_seconds=0.1)
    lines.on_epoch_end(0, {"loss": 0.25})
    lines.on_epoch_begin(1)
    _train(run, until=100, steps=50, step_seconds=0.1)
    lines.on_test_begin()
    clock.now += 20.0
    lines.on_test_end()
    lines.on_epoch_end(1, {"loss": 0.25, "val_loss": 0.00002, "matrix": [[1.0]], "count": 3})
    assert len(shown) == 3
    assert shown[1] == "Epoch 1/2: loss 0.2500; 320 examples/s"
    assert shown[2] == ("Epoch 2/2: loss 0.2500, val_loss 2.000e-05, count 3.0000; 320 examples/s")


def test_the_time_of_an_evaluation_is_no_time_of_training(run):
    lines, clock, shown = run
    lines.on_epoch_begin(0)
    _train(run, until=1, steps=1, step_seconds=1.0)
    lines.on_test_begin()
    clock.now += 25.0
    lines.on_test_end()
    _train(run, until=11, steps=10, step_seconds=1.0)
    assert shown[-1] == "Epoch 1/2, step 11/100: loss 0.5000, accuracy 0.2500; 32 examples/s"


def test_a_long_evaluation_is_heard_of_too(run):
    lines, clock, shown = run
    lines.on_epoch_begin(0)
    _train(run, until=1, steps=1, step_seconds=1.0)
    lines.on_test_begin()
    for batch in range(4):
        clock.now += 16.0
        lines.on_test_batch_end(64 * batch + 63, {"loss": 0.125})
    lines.on_test_end()
    lines.on_train_end()
    clock.now += 30.0
    lines.on_test_batch_end(63, {"loss": 0.5})
    assert shown[1:] == [
        "Epoch 1/2, evaluation, step 128: loss 0.1250",
        "Epoch 1/2, evaluation, step 256: loss 0.1250",
        "The end, evaluation, step 64: loss 0.5000",
    ]


def test_an_epoch_of_one_call_has_no_speed_and_a_clock_that_stands_is_no_error(run):
    lines, _, shown = run
    lines.on_epoch_begin(0)
    _train(run, until=100, steps=100, step_seconds=0.0)
    lines.on_epoch_end(0, {"loss": 0.25})
    lines.on_epoch_begin(1)
    _train(run, until=100, steps=100, step_seconds=0.0)
    lines.on_epoch_end(1, None)
    assert shown[1] == "Epoch 1/2: loss 0.2500"
    assert shown[2].startswith("Epoch 2/2: ")
