"""What a dataset file learns from its training data before anything is trained.

A vocabulary, a mean, a list of classes: made once, by the chief, heard by every worker and kept in
`config.json`, so that a run that goes on, or a model that is used later, has the same ones.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.errors import ConfigError, one_line
from tfscale.startup.board import Board
from tfscale.structures import Foreign

_MOST_BYTES = 2**24  # of their text


def with_statistics(
    dataset: DatasetFile, board: Board, kept: Mapping[str, object] | None
) -> DatasetFile:
    """The dataset file with what its `statistics` gives.

    Args:
        dataset: as it was read.
        board: on which the chief tells it.
        kept: what an earlier start of this run was given, on the chief; nothing for a new one.

    Raises:
        ConfigError: `statistics` failed, or gave something else than values by their names.
    """
    if dataset.statistics is None:
        return dataset
    text = ""
    if board.is_chief:
        text = json.dumps(kept) if kept else _text_of(dataset)
    told = json.loads(board.broadcast("statistics", text))
    return replace(
        dataset,
        learned=told,
        constants={**dataset.constants, **told},
        num_classes=told.get("num_classes", dataset.num_classes),
    )


def _text_of(dataset: DatasetFile) -> str:
    call = f"{dataset.name}: statistics()"
    assert dataset.statistics is not None  # noqa: S101 - asked before
    try:
        given = dataset.statistics()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{call} raised {one_line(error)}") from error
    if not isinstance(given, Mapping) or not all(
        isinstance(name, str) and name.isidentifier() for name in given
    ):
        raise ConfigError(
            f"{call} returned {type(given).__name__}; expected a dict of values by their names. "
            'Return for example {"vocabulary": [...], "mean": 0.5}.'
        )
    try:
        text = json.dumps(given, default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{call} gave what can't be kept as JSON ({error}); expected numbers, texts, arrays, "
            "and lists or dicts of them."
        ) from error
    if len(text) > _MOST_BYTES:
        raise ConfigError(
            f"{call} gave {len(text) / 2**20:.0f} MiB of text; expected at most "
            f"{_MOST_BYTES / 2**20:.0f} MiB. Keep what is larger in a file of `prepare`."
        )
    return text


def _plain(value: Foreign) -> Any:  # noqa: ANN401 - whatever JSON has
    if isinstance(value, tf.Tensor):
        value = value.numpy()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a value of {type(value).__name__}")
