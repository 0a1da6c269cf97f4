"""Puts a training back to an earlier step, so that the step after it can be looked at again."""

import json

from tfscale.checkpoints.snapshot import Snapshots
from tfscale.checkpoints.writer import Writer
from tfscale.fit.keras.loops import Call
from tfscale.startup.job import Job

_LONGEST_SECONDS = 30.0  # of steps that are taken again


class WayBack:
    """Goes back to the newest checkpoint, and takes the steps after it once more.

    What a user's callbacks have changed meanwhile isn't done again: it is a way to look, and no run
    resumes there.

    Args:
        job: whose workers train.
        snapshots: of its training.
        writer: of its checkpoints.
    """

    def __init__(self, job: Job, snapshots: Snapshots, writer: Writer) -> None:
        self._job, self._snapshots, self._writer = job, snapshots, writer

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
        found = self._writer.newest() if self._job.cluster.is_chief else None
        told = json.dumps(None if found is None else found.step)
        begin = json.loads(self._job.board.broadcast("way back", told))
        seconds = distributed.boundary.step_seconds if distributed.boundary else 0.0
        if begin is None or begin > step or (step - begin) * seconds > _LONGEST_SECONDS:
            return None
        self._snapshots.put_back(found)
        if step == begin:
            return []
        distributed.loop.guard(skips=skips)
        data.start()
        verdict = distributed.take(Call(data, step - begin)).verdict
        return verdict.skipped_steps if verdict else []
