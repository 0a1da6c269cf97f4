"""What all workers must have the same, compared before it can do harm."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.errors import Disagreement
from tfscale.startup.board import Board
from tfscale.startup.differences import MOST_SHOWN, shown
from tfscale.startup.environment import numeric_variables

SAME_COMMAND = (
    "Start every worker with the same command, packages and kind of machine, only --index differs."
)
SAME_FILES = "Copy the same files to every node."
SAME_MODEL = (
    "Let every node build the same model: of the same files, and of nothing that a machine or its "
    "environment says."
)
_LONGEST = 200  # characters of a fact that travels as it is; of a longer one its hash does
_LONGEST_DETAIL = 2**18  # of a fact that differs: what is shown is where it first does


def versions() -> dict[str, str]:
    """Of what a result may depend on."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}


def surroundings() -> dict[str, object]:
    """What a node's environment and its ~/.keras/keras.json say, if it changes results."""
    return {
        "TF32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "image_data_format of Keras": keras.config.image_data_format(),
        "epsilon of Keras": keras.config.epsilon(),
        # A worker that stops early would leave the others waiting in a collective.
        "most epochs of Keras": keras.config.max_epochs(),
        "most steps of an epoch of Keras": keras.config.max_steps_per_epoch(),
        **numeric_variables(),
    }


def require_same(
    board: Board,
    topic: str,
    facts: Mapping[str, object],
    advice: str = SAME_COMMAND,
    timeout_seconds: float = 0.0,
) -> None:
    """Refuses workers that differ in a fact, on every worker, and says who has what.

    Long facts travel as a hash. One that differs is told a second time, in full, to say where.

    Args:
        board: over which the workers tell each other.
        topic: what the facts are about, the channel on which they are told.
        facts: by name, ready for JSON. A worker that lacks one differs in it.
        advice: what to do about a difference, as a sentence.
        timeout_seconds: how long the workers wait for each other; 0 for as long as it takes.

    Raises:
        Disagreement: they differ; a table of who has what if they do in several facts.
    """
    own = {name: json.dumps(value, sort_keys=True) for name, value in facts.items()}
    told = {name: _short(text) for name, text in own.items()}
    said = board.all_gather(topic, json.dumps(told), timeout_seconds)
    everybody = [json.loads(text) for text in said]
    names = list(dict.fromkeys(name for theirs in everybody for name in theirs))
    differing: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        values = [theirs.get(name) for theirs in everybody]
        if not _differ(values):
            continue
        texts = ['"none"' if value is None else value for value in values]
        if any(text.startswith("sha256:") for text in texts) and len(differing) < MOST_SHOWN:
            text = own.get(name, '"none"')
            detail = text if len(text) <= _LONGEST_DETAIL else json.dumps(told[name])
            # Every worker has seen the same difference, so that all of them come here.
            texts = board.all_gather(f"{topic}/{number}", detail)
        differing[name] = _where([_quoted(text) for text in texts])
    if differing:
        raise Disagreement(shown(differing, advice))


def _quoted(text: str) -> str:
    """A fact as JSON, of which maybe only the hash has come."""
    return json.dumps(text) if text.startswith("sha256:") else text


def _short(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _where(texts: Sequence[str]) -> list[str]:
    """Of facts as JSON, the part in which they first differ."""
    values = [json.loads(text) for text in texts]
    while all(isinstance(value, list) for value in values):
        size = max(map(len, values))
        items = [[*value, *["none"] * (size - len(value))] for value in values]
        values = next(list(row) for row in zip(*items, strict=True) if _differ(row))
    while all(isinstance(value, dict) for value in values):
        keys = list(dict.fromkeys(key for value in values for key in value))
        key = next(key for key in keys if _differ([value.get(key) for value in values]))
        values = [value.get(key) for value in values]
        if not all(isinstance(value, dict) for value in values):
            values = [f"{key} {json.dumps(value)}" for value in values]
    told = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return [text if len(text) <= _LONGEST else _around(text, told) for text in told]


def _differ(values: Sequence[object]) -> bool:
    return any(value != values[0] for value in values)


def _around(text: str, others: Sequence[str]) -> str:
    """A long text, from a little before the first place where the texts differ."""
    at = next(
        (k for k, letters in enumerate(zip(*others, strict=False)) if _differ(letters)),
        min(map(len, others)),
    )
    return f"...{text[max(0, at - 40) : at + 80]}..."
