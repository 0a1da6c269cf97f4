"""What the folders of a run's checkpoints are called; each is there as a whole or not at all.

A worker that doesn't see them, because its disk isn't the chief's, keeps the last step in a file.
"""

import re

FOLDER = "checkpoints"  # of all of them, in the run directory
_STEP = re.compile(r"step-(\d{10,})")


def name_of(step: int) -> str:
    """The name of the folder of a checkpoint.

    Args:
        step: training steps before it.
    """
    return f"step-{step:010d}"


def mark_of(worker: int) -> str:
    """The file in a run directory with the step of the last checkpoint that isn't there.

    Args:
        worker: that has taken part in it.
    """
    return f"logs/worker-{worker}.step"


def step_of(name: str) -> int:
    """Training steps before the checkpoint of a folder of this name; -1 if it is no such name."""
    found = _STEP.fullmatch(name)
    return int(found[1]) if found else -1
