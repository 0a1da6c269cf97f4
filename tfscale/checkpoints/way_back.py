"""Puts a training back to an earlier step, so that the step after it can be looked at again."""

import json

from tfscale.checkpoints import commit
from tfscale.checkpoints.commit import Checkpoint
from tfscale.checkpoints.snapshot import Snapshot, Snapshots
from tfscale.files.checkpoint_names import FOLDER
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.keras.loops import Call
from tfscale.startup.job import Job

_LONGEST_SECONDS = 30.0  # of steps that are taken again


class WayBack:
    """Goes back to the newest checkpoint, and takes the steps after it once more.

    What a user's callbacks have changed meanwhile isn't done again: it is a way to look, and no run
    goes on from there.

    Args:
        job: whose workers train.
        snapshots: of its training.
        directory: with the checkpoints.

    Attributes:
        start: of this start of the run, on the chief, until there is a checkpoint.
    """

    def __init__(self, job: Job, snapshots: Snapshots, directory: RunDirectory) -> None:
        """Has gone nowhere."""
        self.start: Snapshot | None = None
        self._job, self._snapshots = job, snapshots
        self._folder = directory.path / FOLDER

    def to(self, step: int, *, skips: bool = False) -> list[int] | None:
        """Goes back; called on all workers, while nothing is being written.

        Args:
            step: training steps that are to have been taken.
            skips: whether steps that aren't finite are skipped on the way.

        Returns:
            Which were; None if there is no way, or only one that takes long: then nothing has
            changed.
        """
        prepared = self._snapshots.prepared
        distributed, data = prepared.distributed, prepared.data.training
        found = self._found() if self._job.cluster.is_chief else None
        told = json.dumps(None if found is None else found.step)
        begin = json.loads(self._job.board.broadcast("way back", told))
        seconds = distributed.boundary.step_seconds if distributed.boundary else 0.0
        if begin is None or begin > step or (step - begin) * seconds > _LONGEST_SECONDS:
            return None
        self._snapshots.put_back(found)
        if step == begin:
            return []
        judges, distributed.judges = distributed.judges, []
        distributed.guard(skips=skips)
        data.start()
        distributed.train_call(Call(data, step - begin))
        distributed.judges = judges
        return distributed.verdict.skipped_steps if distributed.verdict else []

    def _found(self) -> Checkpoint | Snapshot | None:
        return commit.newest(self._folder)[0] or self.start
