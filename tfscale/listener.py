"""What may watch a run: the way to add something to it that is neither data, model nor callback."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tfscale.fit.loop.events import Boundary, EpochEnd, Point
from tfscale.structures import Json

if TYPE_CHECKING:
    from tfscale.fit.loop.loop_ends import Resumed
    from tfscale.fit.prepare_job import Prepared
    from tfscale.startup.job import Job


class Listener:
    """Is told of a run as it goes; `tfscale.train(..., listeners=[...])` takes some of the user's.

    Every method is called on every worker, in the same order and with the same arguments, while no
    step is on its way: a listener may therefore ask all replicas for something. What it raises ends
    the run on all workers with its reason. Everything else that watches a run is one too:
    `tfscale.training` has the list, the user's are its last.
    """

    def begin(self, job: "Job", prepared: "Prepared") -> None:
        """The run is ready, and no step is taken.

        Args:
            job: its cluster, settings (`job.config`), strategy and terminal.
            prepared: its model, data and learning rate.
        """

    def at_boundary(self, boundary: Boundary) -> None:
        """A loop of training has ended, whose figures are here; no callback has seen it yet."""

    def at_point(self, point: Point) -> None:
        """A loop of training, evaluation or prediction begins or has ended, for callbacks too."""

    def at_epoch_end(self, end: EpochEnd) -> None:
        """An epoch has ended and was validated; the user's own callbacks haven't seen it yet."""

    def get_state(self) -> dict[str, Json]:
        """What a checkpoint keeps of it: numbers, texts, arrays, lists or dicts."""
        return {}

    def set_state(self, state: Mapping[str, Json]) -> None:
        """The run resumes from a checkpoint that has this."""

    def report(self) -> dict[str, Json]:
        """What it adds to `report.json` at the end of a run."""
        return {}

    def end(self) -> None:
        """The run is over, whichever way; not where another worker's failure ends this process."""


@contextlib.contextmanager
def listening(
    listeners: Sequence[Listener],
    job: "Job",
    prepared: "Prepared",
    resume: "Callable[[], Resumed] | None" = None,
) -> Iterator[None]:
    """In the body listeners are told of all that happens, in their order.

    Args:
        listeners: the same ones on every worker.
        job: whose workers take part.
        prepared: what trains.
        resume: puts the training where an earlier run has left it; None for a new one.
    """
    with contextlib.ExitStack() as ending:
        for listener in listeners:
            ending.callback(listener.end)
            listener.begin(job, prepared)
        with prepared.distributed.ends.told_to(listeners, resume):
            yield
