"""What is done with a verdict, between invented workers; tests/faults has real trainings."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.report.boundaries import boundary_of
from tfscale.cluster.cluster import Cluster
from tfscale.errors import Kind, SharedFailure, is_retryable
from tfscale.fit.guards.finite_weights import FiniteWeights
from tfscale.fit.loop.verdict import Verdict
from tfscale.health.non_finite import MOST_IN_A_ROW, NonFinite, SkippedSteps

FINE, BAD = [-1.0, 0.0, 0.0, 0.0], [4.0, 1.0, 0.0, 1.0]


class _Case:
    """One worker of two, and what it shows."""

    def __init__(self, on_nan="stop", *, is_left=False):
        self.shown, self.way = [], []
        strategy = tf.distribute.get_strategy()
        job = SimpleNamespace(
            config=SimpleNamespace(on_nan=on_nan),
            strategy=SimpleNamespace(
                extended=SimpleNamespace(worker_devices=("CPU:0", "CPU:1")),
            ),
            cluster=Cluster(("a:1", "b:2")),
            board=SimpleNamespace(
                broadcast=lambda topic, text: text, all_gather=lambda topic, text: [text, text]
            ),
            terminal=SimpleNamespace(show=self.shown.append),
        )
        self.model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="only")])
        finite = FiniteWeights(self.model, strategy)
        self.distributed = SimpleNamespace(step=10, parts=SimpleNamespace(finite=finite))
        data = SimpleNamespace(training=SimpleNamespace(make=self._make))
        self.watch = NonFinite(
            job,
            SimpleNamespace(model=self.model, distributed=self.distributed, data=data),
            skipped=SkippedSteps(),
            what_stays=lambda: "step 3 stays",
            way_back=self._go,
            is_left_to_callback=is_left,
        )
        self.again = None

    def _make(self, step):
        x = tf.constant([[[1.0]], [[np.nan]]])
        return tf.data.Dataset.from_tensor_slices((x, x))

    def _go(self, step, *, skips=False):
        self.way.append((step, skips))
        return self.again

    def hear(self, *rows, skipped=(), before=100, steps=10):
        verdict = Verdict(before, steps, np.asarray(rows), tuple(skipped))
        self.watch.at_boundary(replace(boundary_of(), verdict=verdict))


@contextlib.contextmanager
def _ends(step, match):
    """The body ends the run for this step, whatever else the reason names."""
    with pytest.raises(SharedFailure, match=match) as found:
        yield found
    assert (found.value.end.kind, found.value.end.step) == (Kind.NOT_FINITE, step)


def test_finite_steps_are_nothing_to_speak_of():
    case = _Case()
    case.watch.at_boundary(boundary_of())  # which nobody has judged
    case.hear(FINE, FINE)
    case.watch.require_finite_weights()
    assert case.shown == [] and case.way == []


def test_the_run_ends_with_the_step_the_worker_and_what_stays():
    case = _Case()
    case.again = [105]
    with _ends(105, "nan") as found:
        case.hear(FINE, BAD)
    assert found.value.reason == (
        "The loss of step 105 is nan on worker 1 at b:2 (replica 3): x of its batch isn't finite; "
        "it was found after step 110; step 3 stays. --on_nan=skip leaves such steps out."
    )
    assert is_retryable(found.value.code)
    assert case.way == [(105, True), (104, False)]


def test_a_step_before_it_is_named_if_that_was_where_it_began():
    case = _Case()
    case.again = [103, 104]
    with _ends(103, "Step 103 on worker 0 at a:1 .replica 1. made weights"):
        case.hear(FINE, BAD)


def test_what_does_not_happen_again_is_said():
    case = _Case("rollback")
    case.again = []
    with _ends(105, r"finite when it is taken again.*; step 3 stays\.$"):
        case.hear(FINE, BAD)


def test_a_callback_may_end_it_but_no_bad_weight_is_saved():
    case = _Case(is_left=True)
    case.hear(FINE, BAD)
    case.watch.require_finite_weights()  # the callback has put good ones back
    case.model.layers[0].bias.assign([np.nan])
    with _ends(105, "The loss of step 105 is nan"):
        case.watch.require_finite_weights()


def test_a_bad_weight_at_the_end_is_named():
    case = _Case()
    case.model.layers[0].bias.assign([np.nan])
    with _ends(10, "Weight .*only/bias isn't finite after step 10"):
        case.watch.require_finite_weights()


def test_skipped_steps_are_told_at_the_boundary():
    case = _Case("skip")
    case.hear(FINE, FINE, skipped=(2,))
    case.hear(FINE, FINE, skipped=(0, 1, 2, 3), before=110)
    assert case.shown == [
        "Step 103 was skipped: loss or gradients are not finite. So far: 1.",
        "Steps 111, 112, 113 ... were skipped: loss or gradients are not finite. So far: 5.",
    ]
    told = {"count": 5, "steps": [103, 111, 112, 113, 114]}
    assert case.watch.skipped.report() == {"non_finite_steps": told}
    resumed = SkippedSteps()
    resumed.set_state(case.watch.skipped.get_state())
    assert vars(resumed) == vars(case.watch.skipped)
    assert SkippedSteps().report() == {"non_finite_steps": {}}


def test_too_many_in_a_row_end_the_run_also_across_boundaries():
    case, half = _Case("skip"), MOST_IN_A_ROW // 2
    case.hear(FINE, FINE, skipped=range(half), before=0, steps=half)
    case.hear(FINE, FINE, skipped=range(half - 1), before=half, steps=half)  # the last one is fine
    case.hear(FINE, FINE, skipped=range(half), before=2 * half, steps=half)
    with _ends(4 * half, "100 steps in a row were skipped"):
        case.hear(FINE, FINE, skipped=range(half), before=3 * half, steps=half)
