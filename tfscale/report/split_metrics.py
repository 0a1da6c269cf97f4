"""Figures of an evaluation that need the predictions of a whole split: mean average precision.

No mean over batches gives them, so that they can't be a Keras metric. After each evaluation all
replicas predict the split once more, the chief computes the figures, and all workers hear them:
`val_mean_average_precision` is in the logs of an epoch as if Keras had put it there.
"""

import json
from typing import Any

import keras

from tfscale.data.feed import Input
from tfscale.fit.evaluate.labelled_prediction import LabelledPrediction, UnwantedOutputs
from tfscale.fit.prepare_job import Prepared
from tfscale.model.scoring import Scoring, scoring_of
from tfscale.startup.job import Job

_CHANNEL = "whole scores"  # on which the chief tells what it has computed


class WholeScores:
    """What a task measures on whole splits; nothing for most tasks.

    Args:
        job: whose workers predict.
        prepared: the model and its splits.

    Raises:
        ConfigError: a package that the task's measure needs isn't installed.
    """

    def __init__(self, job: Job, prepared: Prepared) -> None:
        self._job = job
        self._splits = prepared.data.evaluated
        self._scoring: Scoring | None = None
        if self._splits:
            self._scoring = scoring_of(prepared.data.file, prepared.data.training.spec)
        if self._scoring is not None:
            self._predict = LabelledPrediction(
                prepared.model, job.strategy, self._scoring.is_defined_for
            )

    @property
    def rows(self) -> dict[str, object]:
        """What the plan says about it."""
        if self._scoring is None:
            return {}
        return {"mean average precision": self._scoring.described}

    @property
    def names(self) -> list[str]:
        """Of the figures of a split."""
        return list(self._scoring.names) if self._scoring is not None else []

    def of(self, split: str) -> "SplitScores":
        """A callback for an evaluation of a split.

        Args:
            split: its name; one that the dataset file doesn't have is never evaluated.
        """
        return SplitScores(self, self._splits.get(split))

    def figures(self, source: Input) -> dict[str, float]:
        """Predicts a split; gives its figures, the same on every worker.

        Args:
            source: the split.
        """
        if self._scoring is None:
            return {}
        try:
            outputs, labels = self._predict(source)
        except UnwantedOutputs:
            self._job.terminal.show(
                f"No mean average precision: predict doesn't give {self._scoring.wanted}."
            )
            self._scoring = None
            return {}
        text = ""
        if self._job.cluster.is_chief:
            text = json.dumps(self._scoring.figures(outputs, labels))
            # Who has predicted with the chief has heard all that it said before.
            self._job.board.remove(_CHANNEL, self._job.board.sent(_CHANNEL))
        told = self._job.board.broadcast(_CHANNEL, text)
        figures: dict[str, float] = json.loads(told)
        return figures


class SplitScores(keras.callbacks.Callback):
    """Adds the figures of a split to the logs of each epoch; it has to come before who reads them.

    Args:
        scores: gives them.
        source: of the split; None where there is none.

    Attributes:
        figures: of the last evaluation.
    """

    def __init__(self, scores: WholeScores, source: Input | None) -> None:
        super().__init__()
        self.figures: dict[str, float] = {}
        self._scores = scores
        self._source = source

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Predicts with the weights that were evaluated."""
        if self._source is not None:
            self.figures = self._scores.figures(self._source)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts them beside the metrics of the epoch's validation."""
        if logs is not None:
            logs |= {f"val_{name}": value for name, value in self.figures.items()}
