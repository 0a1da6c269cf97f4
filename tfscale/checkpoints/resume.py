"""What an earlier start of the same command has left in the run directory, to go on from."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfscale.checkpoints import commit
from tfscale.checkpoints.commit import Checkpoint
from tfscale.files.checkpoint_names import FOLDER
from tfscale.files.run_directory import RunDirectory, read_settings
from tfscale.fit.prepare_job import Prepared
from tfscale.model.learning_rate import LearningRate
from tfscale.settings import SETTINGS, Config
from tfscale.startup.job import Job
from tfscale.structures import Json

# What may be another when a run goes on, of what `config.json` has.
_MAY_DIFFER = {
    *("workers", "buckets", "learned", "plan", "sources", "versions"),
    *(name for name, setting in SETTINGS.items() if setting.may_differ_on_resume),
}
# Of these, what changes how sums are rounded.
_ROUNDS = ("accumulate_steps", "bucket_mb", "collectives", "devices", "jit")
_FILES = ("dataset", "model")


@dataclass(frozen=True)
class Earlier:
    """Where an earlier run has come to, the same on every worker.

    Args:
        step: training steps before the checkpoint; 0 where there is none.
        epoch: in which it goes on, from 0.
        bucket_bytes: gradients that travelled together, which changes how sums are rounded; 0 if
            none travelled.
        replicas: that there were.
        workers: that there were.
        checkpoint: on the chief.
        settings: the content of `config.json`, on the chief.
    """

    step: int = 0
    epoch: int = 0
    bucket_bytes: int = 0
    replicas: int = 0
    workers: int = 0
    checkpoint: Checkpoint | None = None
    settings: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether there is something to go on from."""
        return self.replicas > 0

    @property
    def learned(self) -> Mapping[str, Json] | None:
        """What `statistics` of the dataset file gave, on the chief."""
        return self.settings.get("learned") if self.is_there else None

    def rows(self, job: Job, prepared: Prepared) -> dict[str, object]:
        """What the plan says about it.

        Args:
            job: of this run.
            prepared: what trains.
        """
        if not self.is_there:
            return {}
        text = f"step {self.step}, epoch {self.epoch + 1}"
        changed = [
            f"--{name}={getattr(job.config, name)} (was {self.settings[name]})"
            for name in _ROUNDS
            if self.settings.get(name, getattr(job.config, name)) != getattr(job.config, name)
        ]
        if self.replicas != job.strategy.num_replicas_in_sync:
            changed.insert(0, f"it was written by {self.replicas} replicas")
        if changed:
            text += (
                f"; {', '.join(changed)}: the same examples in the same order, and sums that "
                "differ within rounding"
            )
        before = self.settings.get("sources", {})
        others = [name for name in _FILES if before.get(name) != prepared.sources[name]]
        if before and others:
            text += f"; the text of the {' and of the '.join(others)} file has changed since"
        return {"resumes from": text} | self._longer(job.config, prepared)

    def _longer(self, config: Config, prepared: Prepared) -> dict[str, object]:
        """What more epochs do to a rate that follows the length of the run."""
        epochs, rate = self.settings.get("epochs", config.epochs), prepared.rate
        if epochs >= config.epochs or not isinstance(rate, LearningRate) or rate.is_constant:
            return {}
        steps = rate.total_steps * epochs // config.epochs
        warmup = round(steps * config.warmup_fraction)
        old = replace(rate, total_steps=steps, warmup_steps=warmup)
        return {
            "more epochs": (
                f"{config.epochs} instead of {epochs}: the learning rate goes on at "
                f"{rate.at(self.step):.4g}, on the course of {config.epochs}; that of {epochs} had "
                f"come to {old.at(self.step):.4g} here"
            )
        }


def find(job: Job) -> Earlier:
    """Looks for the newest checkpoint that is whole; every worker hears of it.

    A run that has ended is gone on with where more epochs are asked for.

    Args:
        job: whose chief has the run directory.
    """
    config = job.config
    found: Checkpoint | None = None
    told: dict[str, Json] = {}
    settings: dict[str, Json] = {}
    if job.cluster.is_chief and config.keep_checkpoints and not config.overwrite:
        directory = RunDirectory(config.run_dir, job.cluster, job.terminal.complain)
        settings = read_settings(directory.path)
        if not directory.has_finished_run or settings.get("epochs", config.epochs) < config.epochs:
            found, refused = commit.newest(directory.path / FOLDER)
            for line in refused:
                job.terminal.complain(line)
        if found is not None:
            facts = found.facts
            names = ("step", "epoch", "bucket_bytes", "replicas", "workers")
            told = {name: facts[name] for name in names}
    # As long as it takes: every byte has been read.
    told = json.loads(job.board.broadcast("earlier run", json.dumps(told)))
    return Earlier(**told, checkpoint=found, settings=settings)


def differences(run_dir: Path, settings: Mapping[str, Json]) -> list[str]:
    """What this run is asked to do otherwise than the one in the run directory.

    More epochs are no difference, nor are files and data that lie elsewhere.

    Args:
        run_dir: with a `config.json`, or without: then nothing differs.
        settings: of this run, ready for JSON.
    """
    before = read_settings(run_dir)
    now = json.loads(json.dumps(dict(settings)))
    names = [name for name in now if name in before and name not in _MAY_DIFFER]
    return [
        f"--{name} was {before[name]} and is {now[name]}"
        for name in names
        if not _are_same(name, before, now)
    ]


def _are_same(name: str, before: Mapping[str, Json], now: Mapping[str, Json]) -> bool:
    """Whether a setting says the same, in other words maybe."""
    was, value = before[name], now[name]
    if name == "epochs":
        return bool(value >= was)
    if name in _FILES and was != value:
        text = now.get("sources", {}).get(name)
        return bool(text) and text == before.get("sources", {}).get(name)
    if name == "dataset_option":
        return _without_paths(was) == _without_paths(value)
    return bool(was == value)


def _without_paths(options: list[str]) -> dict[str, str]:
    """Options of a dataset file but where its data lies: the records themselves are compared."""
    found = dict(option.partition("=")[::2] for option in options)
    return {name: "a path" if os.sep in value else value for name, value in found.items()}
