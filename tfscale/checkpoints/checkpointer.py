"""Takes checkpoints while a run trains, and ends it with one when somebody stops it."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict

from tfscale.checkpoints.commit import Checkpoint
from tfscale.checkpoints.snapshot import Snapshots
from tfscale.checkpoints.writer import Writer, after
from tfscale.errors import PREEMPTED_CODE, SharedFailure
from tfscale.files import atomic
from tfscale.files.checkpoint_names import mark_of
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.loop.events import EpochEnd, Point
from tfscale.fit.loop.loop_ends import Resumed
from tfscale.listener import Listener
from tfscale.startup.job import Job
from tfscale.startup.meeting import Meeting
from tfscale.structures import Json


class Keeper(Listener):
    """Takes part on every worker; the chief's files stay.

    Args:
        job: whose workers train.
        snapshots: of the training.
        directory: of the run.
        stopped_by: says at each point, the same on every worker, who was stopped and how, as a
            sentence begins; "" as long as nobody was.
        earlier: what the run resumes from, on the chief.

    Attributes:
        writer: of the chief's files.
    """

    def __init__(
        self,
        job: Job,
        snapshots: Snapshots,
        directory: RunDirectory,
        *,
        stopped_by: Callable[[], str],
        earlier: Checkpoint | None = None,
    ) -> None:
        finite = snapshots.prepared.distributed.parts.finite
        self.writer = Writer(directory, finite, job.config.keep_checkpoints)
        self._job, self._snapshots, self._directory = job, snapshots, directory
        self._stopped_by, self._saves = stopped_by, Meeting(job.board, "save")
        self._earlier = earlier
        self._validation_loss: float | None = None
        self._is_training = self._is_wanted = self._has_called = False
        self._last_step = 0

    def resume(self) -> Resumed:
        """Puts the training where the earlier run has left it; called on every worker.

        Raises:
            ConfigError: that was another model's.
        """
        self._snapshots.begin()
        resumed, anew = self._snapshots.put_back(self._earlier)
        self._last_step, self._earlier = resumed.taken, None
        if self._job.cluster.is_chief:
            self.writer.resume()
        for name in anew:
            self._job.terminal.show(f"{name} wasn't there when the checkpoint was written.")
        return resumed

    def at_epoch_end(self, end: EpochEnd) -> None:
        """Keeps the loss of the epoch's validation."""
        loss = end.logs.get("val_loss")
        self._validation_loss = None if loss is None else float(loss)

    def at_point(self, point: Point) -> None:
        """Takes what is due at a point.

        Raises:
            SharedFailure: the run ends here, because somebody has stopped it or because a
                checkpoint couldn't be written.
        """
        self.writer.require_success()
        if self._saves.reached():
            self._is_wanted, self._has_called = True, False
        if point.loop == "fit":
            if not self._is_training and not self._last_step:
                self._snapshots.begin()
                self._take_start()
            self._is_training = True
            if self._job.config.keep_checkpoints and (self._is_wanted or self._is_time(point)):
                self._take(point.done, point.step)
            self._call_if_due()
        if self._stopped_by() and self._may_stop(point):
            self._stop(point)

    def finish(self) -> None:
        """Returns when all that was taken is durable: training is over.

        Raises:
            SharedFailure: it couldn't be written.
        """
        self._is_training = False
        self.writer.wait()
        self._saves.end()

    def report(self) -> dict[str, Json]:
        """What checkpoints have cost in this start."""
        return {"checkpoints": asdict(self.writer.costs)}

    def _take_start(self) -> None:
        """Takes what there is before the first step, until there is a checkpoint on the disk."""
        if self._job.config.keep_checkpoints:
            start = self._snapshots.take(0)  # all take part, and the chief has all of it
            self.writer.start = start if self._job.cluster.is_chief else None

    def _is_time(self, point: Point) -> bool:
        """Whether all workers take one here without being asked."""
        every, last = self._job.config.checkpoint_every_steps, self._last_step
        if point.step == last:
            return False
        total = self._snapshots.steps_per_epoch * self._job.config.epochs
        if point.done == point.steps and point.step == total:
            return True  # what follows is validation and the end, and takes no step any more
        return bool(every) and point.step // every > last // every

    def _call_if_due(self) -> None:
        """The chief asks all workers to take one at the next point that they can."""
        config = self._job.config
        if config.keep_checkpoints and not config.checkpoint_every_steps:
            if self._job.cluster.is_chief and not self._has_called and self.writer.is_due:
                self._has_called = True
                self._saves.call("a checkpoint is due")

    def _take(self, done: int, step: int) -> None:
        began = time.perf_counter()
        if not self._job.cluster.is_chief:
            self._mark(self._last_step)
        self._is_wanted, self._last_step = False, step
        snapshot = self._snapshots.take(done)
        self._snapshots.tell_left_out()
        blocked = time.perf_counter() - began
        if self._job.cluster.is_chief:
            loss = self._validation_loss if done == 0 else None
            self.writer.write(snapshot, loss=loss, blocked_seconds=blocked)
        self.writer.costs.blocked_seconds += time.perf_counter() - began

    def _mark(self, step: int) -> None:
        """Lets this node's supervisor see a checkpoint that is on another one's disk.

        Args:
            step: of the last one; as another one is taken, it is durable.
        """
        if not step or self.writer.folder.is_dir():
            return
        with contextlib.suppress(OSError):
            atomic.write_text(self._directory.path / mark_of(self._job.cluster.index), str(step))

    def _may_stop(self, point: Point) -> bool:
        """Not in an evaluation of a callback's: no run resumes in the midst of an epoch's end."""
        return point.loop in ("fit", "validation") or not self._is_training

    def _stop(self, point: Point) -> None:
        """Ends the run on every worker, when the chief's checkpoint is durable.

        Raises:
            SharedFailure: always.
        """
        told = "nothing is saved, as --keep_checkpoints=0 says"
        if self._job.config.keep_checkpoints:
            if self._is_training and point.step != self._last_step:
                done = point.done if point.loop == "fit" else self._snapshots.steps_per_epoch
                self._take(done, point.step)
            self.writer.wait()
            # After training, that of its last checkpoint: what came then is decided anew.
            told = (
                f"step {self._last_step} is saved in {self.writer.folder}, and the same command "
                "resumes from it"
                if self._last_step
                else after(0)
            )
        # The chief, which ends last, must not be ended by others while it still writes.
        told = self._job.board.broadcast("stopped", told)
        raise SharedFailure(f"{self._stopped_by()}; {told}.", PREEMPTED_CODE)
