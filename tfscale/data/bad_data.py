"""What workers tell each other about the records that they have read, and the user."""

import json
import re
from collections.abc import Sequence

import tensorflow as tf

from tfscale.data.feed import Input
from tfscale.data.splits import Splits
from tfscale.errors import ConfigError, one_line
from tfscale.startup.board import Board
from tfscale.structures import Json

_MOST_NAMED = 20
_OF_TRAINING = re.compile(r"train_steps")  # of `TrainingLoop`, as TensorFlow calls its graph
_OF_OTHERS = re.compile(r"[Cc]ollective|NCCL|coordination")
_OF_AN_INPUT = re.compile(r"IteratorGetNext|Iterator::|MultiDeviceIterator|OneShotIterator")


def agree_on_records(board: Board, splits: Splits, step: int) -> dict[str, Json]:
    """The bad records that all workers have skipped, for the report; called on all of them.

    Args:
        board: over which they tell each other.
        splits: this worker's.
        step: training steps so far.

    Returns:
        For each split that has some: how many, and where the first ones lie.

    Raises:
        ConfigError: they are more than may be skipped, or a stream isn't the same on all workers.
    """
    bad = {name: found.bad for name, found in splits.inputs.items() if found.bad is not None}
    skipped = {name: one.found for name, one in bad.items() if one.are_skipped}
    read = _read(splits, step)
    if not skipped and not read:
        return {}
    said = board.all_gather("records read", json.dumps({"skipped": skipped, "read": read}))
    everybody = [json.loads(text) for text in said]
    for name, own in read.items():
        _require_same_stream(splits, name, own, [theirs["read"][name] for theirs in everybody])
    told: dict[str, Json] = {}
    for name in skipped:
        found = sorted({index for theirs in everybody for index in theirs["skipped"][name]})
        bad[name].require_few(found)
        if found:
            told[name] = {"count": len(found), "records": bad[name].names(found[:_MOST_NAMED])}
    return told


def _read(splits: Splits, step: int) -> dict[str, int]:
    """What this worker has read of each stream whose order only reading tells."""
    return {
        name: found.order.at(0 if found.is_evaluation else step)
        for name, found in splits.inputs.items()
        if found.order is not None
    }


def _require_same_stream(splits: Splits, name: str, own: int, all_read: Sequence[int]) -> None:
    if all(read == own for read in all_read):
        return
    raise ConfigError(
        f"{splits.file.name}: load({name!r}) has given other records, or another order of them, on "
        "each worker, so that some examples were seen twice and others never; expected the same "
        "on all. It makes them in Python: let no thread, process, clock or unsorted listing decide "
        "what comes next (imap instead of imap_unordered, sorted(os.listdir(...)))."
    )


def explain(error: Exception, splits: Splits, step: int) -> Exception:
    """An error of a run, with the record that it is about if a bad record is its cause.

    What an operation of a step refuses, it would refuse again: ids that an embedding hasn't, labels
    that are no classes, shapes that don't fit.

    Args:
        error: what `fit` or `evaluate` raised.
        splits: this worker's.
        step: how many steps of training are known to be done.
    """
    text, is_of_tensorflow = str(error), isinstance(error, tf.errors.OpError)
    if not (is_of_tensorflow and _OF_AN_INPUT.search(text)):
        return _refused(error, splits, step)
    inputs = [splits.training, *splits.evaluated.values()]
    if not _OF_TRAINING.search(text):
        inputs.reverse()  # searching for nothing where nothing failed may take minutes
    for found in inputs:
        if told := _told(found, step):
            return told
    return error


def _refused(error: Exception, splits: Splits, step: int) -> Exception:
    """What the step of a model can't take, as an error that no further try mends."""
    text, kinds = str(error), (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
    if not isinstance(error, kinds) or _OF_OTHERS.search(text):
        return error
    if "XLA" in text:
        return ConfigError(
            f"XLA can't compile a step of the model: {one_line(error)}; expected operations that "
            "it has. Leave --jit out, or jit_compile in compile()."
        )
    others = " or ".join(map(repr, splits.evaluated)) or "'train'"
    split = "'train'" if _OF_TRAINING.search(text) else others
    return ConfigError(
        f"{splits.file.name}: the model can't take an example of {split}, after step {step}: "
        f"{one_line(error)}; expected what fits its layers and its loss, because the next try "
        "would meet the same. Mend it in preprocess, or the model."
    )


def _told(found: Input, step: int) -> Exception | None:
    if found.bad is not None and found.bad.are_skipped:
        try:
            found.bad.require_few(found.bad.found)
        except ConfigError as too_many:
            return too_many
        return None
    if why := found.why(step):
        advice = "Mend it, or skip it and up to N others with --max_bad_examples=N."
        return type(why)(f"{str(why).rstrip('. ')}. {advice}")
    return None
