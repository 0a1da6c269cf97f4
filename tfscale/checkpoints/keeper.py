"""Takes checkpoints while a run trains, and ends it with one when somebody stops it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tfscale.checkpoints import commit
from tfscale.checkpoints.background import Background
from tfscale.checkpoints.commit import Checkpoint
from tfscale.checkpoints.retention import LOSS, losses_of, remove_old
from tfscale.checkpoints.schedule import Schedule
from tfscale.checkpoints.snapshot import Snapshot, Snapshots
from tfscale.checkpoints.way_back import WayBack
from tfscale.errors import FAILURE_CODE, PREEMPTED_CODE, Kind, SharedFailure
from tfscale.files import atomic
from tfscale.files.checkpoint_names import FOLDER, mark_of
from tfscale.files.run_directory import RunDirectory, reason_of
from tfscale.fit.points import Point, Resumed
from tfscale.process.spare_cores import SpareCores
from tfscale.startup.job import Job
from tfscale.startup.meeting import Meeting


@dataclass
class Costs:
    """What checkpoints have cost this worker so far.

    Args:
        written: how many.
        blocked_seconds: in which training stood still for them.
        write_seconds: in which they were written, beside training.
    """

    written: int = 0
    blocked_seconds: float = 0.0
    write_seconds: float = 0.0


class Keeper:
    """A listener of a training's points, on every worker; the chief's files stay.

    Args:
        job: whose workers train.
        snapshots: of the training.
        directory: of the run, in which the checkpoints have a folder.
        validation_loss: of the last epoch, None where there is none.
        earlier: what the run goes on from, on the chief.

    Attributes:
        way_back: to a step that is over, for who wants to look at the next one again.
    """

    def __init__(
        self,
        job: Job,
        snapshots: Snapshots,
        directory: RunDirectory,
        *,
        validation_loss: Callable[[], float | None],
        earlier: Checkpoint | None = None,
    ) -> None:
        """Has taken none yet."""
        self.way_back = WayBack(job, snapshots, directory)
        self.costs = Costs()
        self.is_training = False
        self._job, self._snapshots = job, snapshots
        self._saves, self._stops = Meeting(job.board, "save"), Meeting(job.board, "stop")
        self._directory, self._folder = directory, directory.path / FOLDER
        self._validation_loss, self._earlier = validation_loss, earlier
        self._keep, self._every = job.config.keep_checkpoints, job.config.checkpoint_every_steps
        self._total_steps = snapshots.steps_per_epoch * job.config.epochs
        self._background, self._schedule = Background(), Schedule()
        self._spare_cores = SpareCores()
        self._losses: dict[int, float] = {}
        self._is_wanted = self._has_called = self._has_looked = self._is_asked_to_stop = False
        self._stopped_by = ""
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
            self._losses = losses_of(self._folder)
        for name in anew:
            self._job.terminal.show(f"{name} wasn't there when the checkpoint was written.")
        return resumed

    def reached(self, point: Point, step: int) -> None:
        """Takes what is due at a point.

        Args:
            point: where the run is.
            step: training steps so far.

        Raises:
            SharedFailure: the run ends here, because somebody has stopped it or because a
                checkpoint couldn't be written.
        """
        with self._explained():
            self._background.require_success()
        if self._saves.reached():
            self._is_wanted, self._has_called = True, False
        self._stopped_by = self._stops.reached() or self._stopped_by
        if point.loop == "fit":
            if not self.is_training and not self._last_step:
                self._snapshots.begin()
                self._take_start()
            self.is_training = True
            if self._keep and (self._is_wanted or self._is_time(point, step)):
                self._take(point.done, step)
            self._call_if_due()
        if self._stopped_by and self._may_stop(point):
            self._stop(point, step)

    def _take_start(self) -> None:
        """Takes what there is before the first step, until there is a checkpoint on the disk."""
        if self._keep:
            start = self._snapshots.take(0)  # all take part, and the chief has all of it
            self.way_back.start = start if self._job.cluster.is_chief else None

    def stop(self, who: str) -> None:
        """Asks all workers to end with a checkpoint, from any thread of any worker.

        Args:
            who: was stopped and how, as a sentence begins.
        """
        self._is_asked_to_stop = True
        self._stops.call(who)

    def last_saved(self) -> int:
        """The step of the last checkpoint, when what was taken is durable; 0 if there is none."""
        with contextlib.suppress(OSError, SharedFailure):
            self._background.wait()  # what can't be written doesn't count
        return commit.last_step(self._folder)

    def finish(self) -> None:
        """Returns when all that was taken is durable: training is over.

        Raises:
            SharedFailure: it couldn't be written.
        """
        self.is_training = False
        with self._explained():
            self._background.wait()

    def end(self) -> None:
        """Nobody can stop the run any more, which is as good as done; says so to who wanted to."""
        if self._is_asked_to_stop:
            self._job.terminal.complain(
                "The run was over before it could be stopped: all is saved."
            )
        self._saves.end()
        self._stops.end()

    def _is_time(self, point: Point, step: int) -> bool:
        """Whether all workers take one here without being asked."""
        if step == self._last_step:
            return False
        if point.done == point.steps and step == self._total_steps:
            return True  # what follows is validation and the end, and takes no step any more
        return bool(self._every) and step // self._every > self._last_step // self._every

    def _call_if_due(self) -> None:
        """The chief asks all workers to take one at the next point that they can."""
        if not self._job.cluster.is_chief or not self._keep or self._every or self._has_called:
            return
        if not self._background.is_busy and self._schedule.is_due(time.monotonic()):
            self._has_called = True
            self._saves.call("a checkpoint is due")

    def _take(self, done: int, step: int) -> None:
        began = time.perf_counter()
        if not self._job.cluster.is_chief:
            self._mark(self._last_step)
        self._is_wanted, self._last_step = False, step
        snapshot = self._snapshots.take(done)
        self._say_what_is_left_out()
        blocked = time.perf_counter() - began
        if self._job.cluster.is_chief:
            if done == 0 and (loss := self._validation_loss()) is not None:
                self._losses[step] = snapshot.facts[LOSS] = loss
            with self._explained():
                self._background.start(lambda: self._write(snapshot, blocked))
        self.costs.blocked_seconds += time.perf_counter() - began

    def _mark(self, step: int) -> None:
        """Lets this node's supervisor see a checkpoint that is on another one's disk.

        Args:
            step: of the last one; as another one is taken, it is durable.
        """
        if not step or self._folder.is_dir():
            return
        with contextlib.suppress(OSError):
            atomic.write_text(self._directory.path / mark_of(self._job.cluster.index), str(step))

    def _write(self, snapshot: Snapshot, blocked_seconds: float) -> None:
        began, processor = time.perf_counter(), time.thread_time()
        spare_cores = self._spare_cores.measure()  # since the last one was written
        self._require_finite(snapshot)
        self._directory.make_again()
        commit.write(self._folder, snapshot.step, snapshot.files, snapshot.facts)
        remove_old(self._folder, self._keep, self._losses)
        self.way_back.start = None
        self.costs.written += 1
        self.costs.write_seconds += time.perf_counter() - began
        self._schedule.took(
            time.monotonic(),
            blocked_seconds=blocked_seconds,
            processor_seconds=time.thread_time() - processor,
            spare_cores=spare_cores,
        )
        self._spare_cores.measure()

    def _require_finite(self, snapshot: Snapshot) -> None:
        """Refuses a state from which nobody can go on.

        Raises:
            SharedFailure: a weight isn't finite.
        """
        bad = self._snapshots.prepared.distributed.finite.first_bad_of(snapshot.arrays())
        if bad:
            raise SharedFailure(
                f"Weight {bad} isn't finite after step {snapshot.step}, of which no checkpoint is "
                f"written; {after(commit.last_step(self._folder))}.",
                FAILURE_CODE,
                Kind.NOT_FINITE,
                snapshot.step,
            )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Says what it means that a checkpoint couldn't be written.

        Raises:
            SharedFailure: it couldn't be.
        """
        try:
            yield
        except OSError as error:
            last = self.last_saved()
            then = f"goes on from step {last}" if last else "begins anew"
            raise SharedFailure(
                f"A checkpoint can't be written to {self._folder} ({reason_of(error)}); expected "
                f"room and permission for it. Make room: the same command then {then}. "
                "--keep_checkpoints=0 trains without.",
                FAILURE_CODE,
            ) from error

    def _say_what_is_left_out(self) -> None:
        if self._has_looked:
            return
        self._has_looked = True
        if left_out := self._snapshots.left_out():
            self._job.terminal.show(
                f"A checkpoint can't hold {', '.join(left_out)}: a run that goes on begins anew "
                "with it. In callbacks, keep numbers, texts, arrays, lists or dicts."
            )

    def _may_stop(self, point: Point) -> bool:
        """Not in an evaluation of a callback's: an epoch's end can't be gone on with half-way."""
        return point.loop in ("fit", "validation") or not self.is_training

    def _stop(self, point: Point, step: int) -> None:
        """Ends the run on every worker, when the chief's checkpoint is durable.

        Raises:
            SharedFailure: always.
        """
        told = "nothing is saved, as --keep_checkpoints=0 says"
        if self._keep:
            if self.is_training and step != self._last_step:
                done = point.done if point.loop == "fit" else self._snapshots.steps_per_epoch
                self._take(done, step)
            with self._explained():
                self._background.wait()
            # After training, that of its last checkpoint: what came then is decided anew.
            told = (
                f"step {self._last_step} is saved in {self._folder}, and the same command goes on "
                "from it"
                if self._last_step
                else after(0)
            )
        # The chief, which ends last, must not be ended by others while it still writes.
        told = self._job.board.broadcast("stopped", told)
        raise SharedFailure(f"{self._stopped_by}; {told}.", PREEMPTED_CODE)


def after(step: int) -> str:
    """What becomes of a run that ends, whose last checkpoint is of that step; 0 for none."""
    if not step:
        return "there is no checkpoint, and the same command begins anew"
    return f"the last checkpoint, step {step}, stays, and the same command goes on from it"
