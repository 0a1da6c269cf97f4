"""What callbacks have added to the logs of a batch or an epoch, as JSON for the other workers."""

from typing import Any

import numpy as np

from tfscale.structures import Foreign, Json


def changed_logs(before: dict[str, Any], logs: dict[str, Any]) -> dict[str, Json]:
    """What was added to the logs, of what a callback on another worker could make use of.

    Args:
        before: the logs as they were.
        logs: as they are.
    """
    usable = (bool, int, float, str, np.generic, np.ndarray)
    return {
        name: _as_json(value)
        for name, value in logs.items()
        if isinstance(value, usable) and (name not in before or value is not before[name])
    }


def _as_json(value: Foreign) -> Json:
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def from_json(value: Json) -> Json:
    """A value of `changed_logs` as it was."""
    return np.asarray(value["array"]) if isinstance(value, dict) else value
