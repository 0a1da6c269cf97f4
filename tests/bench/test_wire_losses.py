import json

import pytest

from tfscale.bench import wire_losses
from tfscale.bench.runs import Run
from tfscale.bench.wire_losses import WireLosses

LOSSES = WireLosses("float16", 200, exact=(0.5, 0.25, 0.375), rounded=(0.5, 0.375, 0.375))


def test_the_difference_is_that_of_the_means_and_the_spread_that_of_the_seeds():
    assert LOSSES.spread == 0.25
    assert LOSSES.difference == pytest.approx(0.125 / 3)


def test_every_seed_is_trained_with_both_wires(monkeypatch):
    trained, lines = [], []

    def run(program, tasks):
        trained.append((program, tasks[0].seed, tasks[0].wire_dtype))
        assert [task.index for task in tasks] == [0, 1]
        assert {task.epochs * task.steps for task in tasks} == {200}
        answer = {"loss": len(trained) / 8}
        return Run(0.0, 1.0, [answer, answer])

    monkeypatch.setattr(wire_losses.runs, "run", run)
    losses = wire_losses.measure(wire_dtype="bfloat16", seeds=2, steps=200, say=lines.append)
    assert losses == WireLosses("bfloat16", 200, exact=(0.125, 0.375), rounded=(0.25, 0.5))
    assert trained == [
        ("ours", 0, "float32"),
        ("ours", 0, "bfloat16"),
        ("ours", 1, "float32"),
        ("ours", 1, "bfloat16"),
    ]
    assert lines[1] == "seed 1: float32 0.37500, bfloat16 0.50000"


def test_the_files_say_what_was_measured(tmp_path):
    wire_losses.write(LOSSES, tmp_path / "new")
    written = json.loads((tmp_path / "new" / "wire-losses.json").read_text())
    assert written["exact"] == list(LOSSES.exact)
    assert written["rounded"] == list(LOSSES.rounded)
    shown = (tmp_path / "new" / "wire-losses.md").read_text()
    assert "| 1 | 0.25000 | 0.37500 | +0.12500 |" in shown
    assert "seeds alone spread the float32 losses over 0.25000" in shown
