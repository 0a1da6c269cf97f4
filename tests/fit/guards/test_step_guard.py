"""What a guard finds in a loop of one replica, and what a verdict says of several workers."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.fit.guards.step_guard import StepGuard
from tfscale.fit.loop.verdict import Finding, Verdict

NAN, INF = float("nan"), float("inf")
NONE = [-1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("rows", "finding"),
    [
        ([NONE, NONE], None),
        ([NONE, [4, 1, 0, 1]], Finding(105, 1, 1, "nan")),
        ([[7, 0, 0, 1], [4, 0, 1, 1]], Finding(105, 1, 0, "inf")),
        ([[4, 0, 2, 0], [4, 1, 0, 0]], Finding(105, 0, 0, "-inf")),
        ([NONE, [-1, 0, 0, 1]], Finding(110, 1, 0, "")),
    ],
)
def test_a_verdict_names_the_first_step_and_its_first_worker(rows, finding):
    assert Verdict(100, 10, np.asarray(rows, float)).finding() == finding


def test_skipped_steps_have_the_numbers_of_the_run():
    assert Verdict(100, 10, np.asarray([NONE]), (0, 9)).skipped_steps == [101, 110]


class _Loop:
    """Steps that each add a loss to a weight, counted by a statistic, with one guard."""

    def __init__(self, *, skips):
        self.weight, self.seen = keras.Variable(0.0), keras.Variable(0.0, trainable=False)
        self.strategy = tf.distribute.get_strategy()
        state = SimpleNamespace(components=lambda: [self.weight.value, self.seen.value])
        self.strategy_of_one = SimpleNamespace(
            num_replicas_in_sync=1,
            extended=SimpleNamespace(worker_devices=("CPU:0",)),
            experimental_local_results=lambda value: (value,),
        )
        self.guard = StepGuard(self.strategy_of_one, state, [self.weight], skips=skips)

    def run(self, losses):
        @tf.function(autograph=False)
        def loop(losses):
            def step(loss):
                x = tf.identity(self.weight.value)
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    total = x * 0.0 + loss
                tape.gradient(total, x)
                self.weight.assign(x + loss)
                self.seen.assign(self.seen + 1.0)
                return {"loss": loss}

            def body(number, shown, lists):
                kept = self.guard.before()
                logs, verdict = self.guard.judged(step, losses[number])
                means = ([shown], [logs["loss"]])
                (shown,), lists = self.guard.after(number, verdict, lists, kept, means)
                return number + 1, shown, lists

            size = tf.shape(losses)[0]
            start = (tf.constant(0), tf.constant(0.0), self.guard.lists(size))
            _, shown, lists = tf.while_loop(lambda number, *_: number < size, body, start)
            return shown, *self.guard.found(lists)

        shown, row, skipped = loop(tf.constant(losses))
        return float(shown), row.numpy().tolist(), skipped.numpy().tolist()


def test_a_finite_loop_is_nothing_to_speak_of():
    loop = _Loop(skips=False)
    assert loop.run([1.0, 2.0]) == (2.0, NONE, [])
    assert loop.weight.numpy() == 3.0


@pytest.mark.parametrize(("loss", "kind"), [(NAN, 0), (INF, 1), (-INF, 2)])
def test_the_first_bad_loss_of_a_loop_is_found_afterwards(loss, kind):
    loop = _Loop(skips=False)
    _, row, skipped = loop.run([1.0, loss, NAN, 1.0])
    assert row == [1.0, 0.0, float(kind), 1.0] and skipped == []
    assert loop.seen.numpy() == 4.0


def test_weights_are_looked_at_where_losses_are_finite():
    loop = _Loop(skips=False)
    loop.weight.assign(INF)
    # x * 0 is not a number, so that the loss tells as well; without steps only the weight does.
    _, row, _ = loop.run(np.zeros([0], np.float32))
    assert row == [-1.0, 0.0, 0.0, 1.0]


def test_a_guard_that_skips_puts_everything_back():
    loop = _Loop(skips=True)
    shown, row, skipped = loop.run([1.0, NAN, 2.0, INF])
    assert (shown, row, skipped) == (2.0, NONE, [1, 3])
    assert (loop.weight.numpy(), loop.seen.numpy()) == (3.0, 2.0)
