"""Writes checkpoints beside training, on the chief, and knows when the next one is due."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tfscale.checkpoints import commit
from tfscale.checkpoints.background import Background
from tfscale.checkpoints.commit import Checkpoint
from tfscale.checkpoints.retention import LOSS, losses_of, remove_old
from tfscale.checkpoints.schedule import Schedule
from tfscale.checkpoints.snapshot import Snapshot
from tfscale.errors import FAILURE_CODE, Kind, SharedFailure
from tfscale.files.checkpoint_names import FOLDER
from tfscale.files.run_directory import RunDirectory, reason_of
from tfscale.fit.guards.finite_weights import FiniteWeights
from tfscale.process.spare_cores import SpareCores


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


class Writer:
    """One checkpoint at a time becomes durable, and old ones are removed.

    Args:
        directory: of the run, in which the checkpoints have a folder.
        finite: looks after the weights.
        keep: how many of the last ones stay.

    Attributes:
        folder: of all checkpoints.
        costs: so far.
        start: of this start of the run, until there is a checkpoint.
    """

    def __init__(self, directory: RunDirectory, finite: FiniteWeights, keep: int) -> None:
        self.folder = directory.path / FOLDER
        self.costs = Costs()
        self.start: Snapshot | None = None
        self._directory, self._finite, self._keep = directory, finite, keep
        self._background, self._schedule = Background(), Schedule()
        self._spare_cores = SpareCores()
        self._losses: dict[int, float] = {}

    def resume(self) -> None:
        """Learns what an earlier run has written."""
        self._losses = losses_of(self.folder)

    @property
    def is_due(self) -> bool:
        """Whether the next one may be taken."""
        return not self._background.is_busy and self._schedule.is_due(time.monotonic())

    def write(self, snapshot: Snapshot, *, loss: float | None, blocked_seconds: float) -> None:
        """Starts to write one, when the one before is durable.

        Args:
            snapshot: what is written.
            loss: of the validation of these weights, None where there was none.
            blocked_seconds: in which training stood still for it.

        Raises:
            SharedFailure: the one before couldn't be written.
        """
        if loss is not None:
            self._losses[snapshot.step] = snapshot.facts[LOSS] = loss
        with self._explained():
            self._background.start(lambda: self._write(snapshot, blocked_seconds))

    def require_success(self) -> None:
        """Raises what has become of the last one, if that is known.

        Raises:
            SharedFailure: it couldn't be written.
        """
        with self._explained():
            self._background.require_success()

    def wait(self) -> None:
        """Returns when all of them are durable.

        Raises:
            SharedFailure: one couldn't be written.
        """
        with self._explained():
            self._background.wait()

    def last_saved(self) -> int:
        """The step of the last one, when all are durable; 0 if there is none."""
        with contextlib.suppress(OSError, SharedFailure):
            self._background.wait()  # what can't be written doesn't count
        return commit.last_step(self.folder)

    def what_stays(self) -> str:
        """What the run can resume from, in words; from then on nothing is being written."""
        return after(self.last_saved())

    def newest(self) -> Checkpoint | Snapshot | None:
        """The newest state that the chief can put a training back to; nothing is being written."""
        return commit.newest(self.folder)[0] or self.start

    def _write(self, snapshot: Snapshot, blocked_seconds: float) -> None:
        began, processor = time.perf_counter(), time.thread_time()
        spare_cores = self._spare_cores.measure()  # since the last one was written
        self._require_finite(snapshot)
        self._directory.make_again()
        commit.write(self.folder, snapshot.step, snapshot.files, snapshot.facts)
        remove_old(self.folder, self._keep, self._losses)
        self.start = None
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
        """Refuses a state from which no run can resume.

        Raises:
            SharedFailure: a weight isn't finite.
        """
        bad = self._finite.first_bad_of(snapshot.arrays())
        if bad:
            raise SharedFailure(
                f"Weight {bad} isn't finite after step {snapshot.step}, of which no checkpoint is "
                f"written; {after(commit.last_step(self.folder))}.",
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
            then = f"resumes from step {last}" if last else "starts over"
            raise SharedFailure(
                f"A checkpoint can't be written to {self.folder} ({reason_of(error)}); expected "
                f"room and permission for it. Make room: the same command then {then}. "
                "--keep_checkpoints=0 trains without.",
                FAILURE_CODE,
            ) from error


def after(step: int) -> str:
    """What becomes of a run that ends, whose last checkpoint is of that step; 0 for none."""
    if not step:
        return "there is no checkpoint, and the same command starts over"
    return f"the last checkpoint, step {step}, stays, and the same command resumes from it"
