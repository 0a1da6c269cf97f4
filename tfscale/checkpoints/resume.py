"""What an earlier start of the same command has left in the run directory, to go on from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfscale.checkpoints import commit
from tfscale.checkpoints.commit import Checkpoint
from tfscale.files.checkpoint_names import FOLDER
from tfscale.files.run_directory import RunDirectory
from tfscale.settings import SETTINGS
from tfscale.startup.job import Job
from tfscale.structures import Json

# What may be another when a run goes on, of what `config.json` has.
_MAY_DIFFER = {
    *("workers", "buckets", "learned", "plan", "versions"),
    *(name for name, setting in SETTINGS.items() if setting.may_differ_on_resume),
}


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
        learned: what `statistics` of the dataset file gave, on the chief.
    """

    step: int = 0
    epoch: int = 0
    bucket_bytes: int = 0
    replicas: int = 0
    workers: int = 0
    checkpoint: Checkpoint | None = None
    learned: Mapping[str, Json] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is something to go on from."""
        return self.replicas > 0

    def row(self, job: Job) -> dict[str, object]:
        """What the plan says about it."""
        if not self.is_there:
            return {}
        text = f"step {self.step}, epoch {self.epoch + 1}"
        if self.replicas != job.strategy.num_replicas_in_sync:
            text += (
                f"; it was written by {self.replicas} replicas: the same examples in the same "
                "order, and sums that differ within rounding"
            )
        return {"resumes from": text}


def find(job: Job) -> Earlier:
    """Looks for the newest checkpoint that is whole; every worker hears of it.

    Args:
        job: whose chief has the run directory.
    """
    config = job.config
    found: Checkpoint | None = None
    told: dict[str, Json] = {}
    if job.cluster.is_chief and config.keep_checkpoints and not config.overwrite:
        directory = RunDirectory(config.run_dir, job.cluster, job.terminal.complain)
        if not directory.has_finished_run:
            found, refused = commit.newest(directory.path / FOLDER)
            for line in refused:
                job.terminal.complain(line)
        if found is not None:
            facts = found.facts
            names = ("step", "epoch", "bucket_bytes", "replicas", "workers")
            told = {name: facts[name] for name in names}
    # As long as it takes: every byte has been read.
    told = json.loads(job.board.broadcast("earlier run", json.dumps(told)))
    learned = None if found is None else _settings_of(Path(config.run_dir)).get("learned")
    return Earlier(**told, checkpoint=found, learned=learned)


def differences(
    run_dir: Path, settings: Mapping[str, Json], *, may_train_longer: bool
) -> list[str]:
    """What this run is asked to do otherwise than the one in the run directory.

    Args:
        run_dir: with a `config.json`, or without: then nothing differs.
        settings: of this run, ready for JSON.
        may_train_longer: whether more epochs leave those before as they were.
    """
    before = _settings_of(run_dir)
    now = json.loads(json.dumps(dict(settings)))
    names = [name for name in now if name in before and name not in _MAY_DIFFER]
    return [
        f"--{name} was {before[name]} and is {now[name]}"
        for name in names
        if before[name] != now[name]
        and not (name == "epochs" and may_train_longer and now[name] > before[name])
    ]


def _settings_of(run_dir: Path) -> dict[str, Json]:
    """The content of `config.json`; nothing where there is none."""
    try:
        found: dict[str, Json] = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
