"""Which worker is slow, where steps are synchronous and all of them take the same time.

What differs is how long each waits for the others: a worker's own time is the loop's, from the
first who came to its end, less the time in which it only waited for sums. The arithmetic looks at
no clock; the listener feeds it boundaries.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfscale.fit.loop.events import Boundary
from tfscale.listener import Listener
from tfscale.structures import Json

_FACTOR = 2.0  # of the others' own time, from which on a worker is slow
_LOST_SHARE = 0.25  # of a step that it costs the others at least
_LEAST_LOST_SECONDS = 0.01  # likewise, of a step: what is less is the system's own noise
_LEAST_LATE_SECONDS = 0.03  # between two loops, where the chief always has a little more to do
_FEWEST_STEPS, _FEWEST_BOUNDARIES, _LEAST_SECONDS = 12, 2, 1.0  # what is looked back at
_AGAIN_SECONDS = 300.0  # of training, after which a worker that still is slow is named again


@dataclass
class Straggler:
    """A worker that holds the others up.

    Args:
        worker: rank.
        factor: of the others' own time that it takes, when it was seen last.
        cause: "input", "callbacks" (between two loops), or "compute".
        first_step: after which it was seen first.
        last_step: after which it was seen last.
    """

    worker: int
    factor: float
    cause: str
    first_step: int
    last_step: int

    def as_json(self) -> dict[str, Json]:
        """For the report."""
        return dict(vars(self))


class Stragglers:
    """Finds slow workers, boundary by boundary.

    Attributes:
        found: by rank, those that were named.
    """

    def __init__(self) -> None:
        self.found: dict[int, Straggler] = {}
        self._window: list[Boundary] = []
        self._named_at: dict[int, float] = {}
        self._seconds = 0.0

    def add(self, boundary: Boundary) -> Straggler | None:
        """Takes the figures of a loop; gives a worker that is to be named now."""
        if len(boundary.seconds) < 2 or not boundary.is_warm:
            return None
        self._seconds += float(boundary.seconds.max())
        self._window.append(boundary)
        while self._is_enough(self._window[1:]):
            del self._window[0]
        if not self._is_enough(self._window):
            return None
        slow = self._slowest()
        if slow is None:
            return None
        known = self.found.get(slow.worker)
        if known is not None:
            slow.first_step = known.first_step
        self.found[slow.worker] = slow
        named_at = self._named_at.get(slow.worker)
        if named_at is not None and self._seconds - named_at < _AGAIN_SECONDS:
            return None
        self._named_at[slow.worker] = self._seconds
        return slow

    def _is_enough(self, window: list[Boundary]) -> bool:
        return (
            len(window) >= _FEWEST_BOUNDARIES
            and sum(one.steps for one in window) >= _FEWEST_STEPS
            and sum(one.seconds.max() for one in window) >= _LEAST_SECONDS
        )

    def _slowest(self) -> Straggler | None:
        """The worker that is slow in the window, if one is."""
        own = self._middle([_own(one) for one in self._window])
        worker = int(own.argmax())
        others = float(np.median(np.delete(own, worker)))
        lost = own[worker] - others
        step = self._middle([one.seconds.max(keepdims=True) for one in self._window])
        least = max(_LOST_SHARE * step[0], _LEAST_LOST_SECONDS)
        if own[worker] < _FACTOR * others or lost < least:
            return None
        # Causes are of the whole window: of its middle step one may not be seen yet.
        of_all = sum(_excess(_own(one), worker) for one in self._window)
        waited = sum(_excess(one.input_wait_seconds, worker) for one in self._window)
        late = sum(_excess(one.seconds.max() - one.seconds, worker) for one in self._window)
        cause = "compute"
        if waited > of_all / 2:
            cause = "input"
        elif late > of_all / 2:
            cause = "callbacks"
            if late < _LEAST_LATE_SECONDS * len(self._window):
                return None
        step_number = self._window[-1].step
        factor = float(own[worker]) / max(others, 1e-9)
        return Straggler(worker, factor, cause, step_number, step_number)

    def _middle(self, seconds: list[np.ndarray]) -> np.ndarray:
        """Of a step, of each worker: the middle of the window's steps, or a little less."""
        counts = [one.steps for one in self._window]
        rows = np.array([row / count for row, count in zip(seconds, counts, strict=True)])
        weights = np.tile(np.array(counts)[:, None], rows.shape[1])
        return np.array(
            np.quantile(rows, 0.5, axis=0, weights=weights, method="inverted_cdf"), np.float64
        )


def _own(boundary: Boundary) -> np.ndarray:
    """Seconds of a loop in which each worker did something itself, or came late.

    All leave a loop together, so who comes late has a shorter one.
    """
    own: np.ndarray = np.maximum(boundary.seconds.max() - boundary.exposed_seconds, 0.0)
    return own


def _excess(seconds: np.ndarray, worker: int) -> float:
    return float(seconds[worker] - np.median(np.delete(seconds, worker)))


class StragglerLines(Listener):
    """Names slow workers while a model trains.

    Args:
        addresses: of the workers.
        say: gets each line.

    Attributes:
        stragglers: that were found.
    """

    def __init__(self, addresses: tuple[str, ...], say: Callable[[str], None]) -> None:
        self.stragglers = Stragglers()
        self._addresses, self._say = addresses, say

    def at_boundary(self, boundary: Boundary) -> None:
        """Looks at the on-device loop that just ended."""
        slow = self.stragglers.add(boundary)
        if slow is None:
            return
        where = {
            "input": "it waits for its input",
            "callbacks": "its time goes by between two loops, in callbacks",
            "compute": "its steps compute for longer",
        }
        self._say(
            f"Worker {slow.worker} at {self._addresses[slow.worker]} is slow: it takes "
            f"{slow.factor:.1f} times as long as the others, who wait for it after step "
            f"{slow.first_step}; {where[slow.cause]}."
        )

    def report(self) -> dict[str, Json]:
        """Those that were named."""
        return {"stragglers": [one.as_json() for one in self.stragglers.found.values()]}
