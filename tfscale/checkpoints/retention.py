"""Which checkpoints stay: the last ones, and the one with the best validation."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tfscale.checkpoints import commit
from tfscale.files.checkpoint_names import step_of

LOSS = "validation_loss"  # of the weights of a checkpoint, where it is one of an epoch's end


def losses_of(folder: Path) -> dict[int, float]:
    """The validation losses of a run's checkpoints by their steps, where they are known."""
    found = {}
    for path in commit.all_of(folder):
        with contextlib.suppress(commit.RefusedError, OSError):
            facts = commit.facts_of(path)
            if LOSS in facts:
                found[step_of(path.name)] = float(facts[LOSS])
    return found


def remove_old(folder: Path, keep: int, losses: Mapping[int, float]) -> None:
    """Removes all but the last ones and the best one.

    Args:
        folder: of all checkpoints.
        keep: how many of the last ones stay, at least 1.
        losses: the validation loss of the weights of a step, where it is known.
    """
    paths = list(commit.all_of(folder))
    steps = [step_of(path.name) for path in paths]
    known = {step: losses[step] for step in steps if step in losses}
    best = min(known, key=lambda step: known[step], default=-1)
    for path, step in zip(paths[:-keep], steps[:-keep], strict=True):
        if step != best:
            with contextlib.suppress(OSError):  # it is tried again with the next one
                commit.remove(path)
