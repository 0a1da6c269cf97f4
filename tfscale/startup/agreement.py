"""What all workers must have the same, compared before it can do harm."""

import json
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.startup.board import Board


def versions() -> dict[str, str]:
    """Of what a result may depend on."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}


def require_same(
    board: Board, topic: str, facts: Mapping[str, object], timeout_seconds: float = 300.0
) -> None:
    """Refuses workers that differ in a fact, on every worker, and says who has what.

    Args:
        board: over which the workers tell each other.
        topic: what the facts are about, once a run.
        facts: by name, ready for JSON; the same names on every worker.
        timeout_seconds: how long the workers wait for each other.

    Raises:
        ConfigError: they differ.
    """
    said = board.exchange(topic, json.dumps(dict(facts)), timeout_seconds)
    everybody = [json.loads(text) for text in said]
    for name in facts:
        values = [theirs.get(name) for theirs in everybody]
        if any(value != values[0] for value in values):
            shown = ", ".join(f"worker {rank}: {value}" for rank, value in enumerate(values))
            raise ConfigError(
                f"The workers differ in {name} ({shown}); expected the same on all. Start every "
                "worker with the same command, packages and kind of machine, only --index differs."
            )
