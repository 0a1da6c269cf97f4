"""What workers have read after each epoch: bad records are few, and streams alike."""

from tfscale.data.bad_data import agree_on_records
from tfscale.fit.loop.events import EpochEnd
from tfscale.fit.prepare_job import Prepared
from tfscale.listener import Listener
from tfscale.startup.job import Job
from tfscale.structures import Json


class RecordsRead(Listener):
    """Compares at the end of each epoch; see `agree_on_records`."""

    def begin(self, job: Job, prepared: Prepared) -> None:
        """Holds whose records they are."""
        self._job, self._prepared = job, prepared

    def at_epoch_end(self, end: EpochEnd) -> None:
        """Ends the run if too many records are bad, or a stream isn't the same on all workers."""
        agree_on_records(self._job.board, self._prepared.data, end.step)

    def report(self) -> dict[str, Json]:
        """The bad records that were skipped."""
        step = self._prepared.distributed.step
        return {"bad_examples": agree_on_records(self._job.board, self._prepared.data, step)}
