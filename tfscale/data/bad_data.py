"""What workers tell each other about bad records, and the user."""

import json
import re

import tensorflow as tf

from tfscale.data.feed import Input
from tfscale.data.splits import Splits
from tfscale.errors import ConfigError
from tfscale.startup.board import Board
from tfscale.structures import Json

_MOST_NAMED = 20
_OF_TRAINING = re.compile(r"train_steps")  # of `DistributedModel`, as TensorFlow calls its graph
_OF_AN_INPUT = re.compile(r"IteratorGetNext|Iterator::|MultiDeviceIterator|OneShotIterator")


def agreed(board: Board, splits: Splits, topic: str) -> dict[str, Json]:
    """The bad records that all workers have skipped, for the report; called on all of them.

    Args:
        board: over which they tell each other.
        splits: this worker's.
        topic: another one for each call of a run.

    Returns:
        For each split that has some: how many, and where the first ones lie.

    Raises:
        ConfigError: they are more than may be skipped.
    """
    bad = {name: found.bad for name, found in splits.inputs.items() if found.bad is not None}
    own = {name: one.found for name, one in bad.items() if one.are_skipped}
    if not own:
        return {}
    everybody = [json.loads(text) for text in board.exchange(topic, json.dumps(own))]
    told: dict[str, Json] = {}
    for name in own:
        found = sorted({index for theirs in everybody for index in theirs[name]})
        bad[name].require_few(found)
        if found:
            told[name] = {"count": len(found), "records": bad[name].names(found[:_MOST_NAMED])}
    return told


def explained(error: Exception, splits: Splits, step: int) -> Exception:
    """An error of a run, with the record that it is about if a bad record is its cause.

    Args:
        error: what `fit` or `evaluate` raised.
        splits: this worker's.
        step: how many steps of training are known to be done.
    """
    text, is_of_tensorflow = str(error), isinstance(error, tf.errors.OpError)
    if not (is_of_tensorflow and _OF_AN_INPUT.search(text)):
        return error
    inputs = [splits.training, *splits.evaluated.values()]
    if not _OF_TRAINING.search(text):
        inputs.reverse()  # searching for nothing where nothing failed may take minutes
    for found in inputs:
        if told := _told(found, step):
            return told
    return error


def _told(found: Input, step: int) -> Exception | None:
    if found.bad is not None and found.bad.are_skipped:
        try:
            found.bad.require_few(found.bad.found)
        except ConfigError as too_many:
            return too_many
        return None
    if why := found.why(step):
        advice = "Mend it, or skip it and up to N others with --max_bad_examples=N."
        # An error of a disk or a server may be over the next time.
        kind = RuntimeError if "OSError" in why else ConfigError
        return kind(f"{why.rstrip('. ')}. {advice}")
    return None
