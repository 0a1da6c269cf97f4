"""When the next checkpoint is due: as soon as the last one has cost little enough of the time."""

import math

_MOST_OF_THE_TIME = 0.01  # that checkpoints may cost; the promise is 1.5 %
_LEAST_SECONDS = 1.0  # from one to the next


class Schedule:
    """Plain arithmetic over times that it is told.

    What a checkpoint costs is the time in which training stood still for it, and the processor time
    of its writing as far as there was no idle core for it. It doesn't matter how long the disk
    takes: the next one waits for that, and nobody else does.
    """

    def __init__(self) -> None:
        """The first one is due at once: until there is one, everything can be lost."""
        self._next = -math.inf

    def took(
        self, now: float, *, blocked_seconds: float, processor_seconds: float, spare_cores: float
    ) -> None:
        """Tells what one has cost that is durable now.

        Args:
            now: seconds of a clock.
            blocked_seconds: in which training stood still.
            processor_seconds: of the thread that wrote it.
            spare_cores: that are idle while training goes on, the mean.
        """
        cost = blocked_seconds + processor_seconds * max(0.0, 1.0 - spare_cores)
        self._next = now + max(cost / _MOST_OF_THE_TIME, _LEAST_SECONDS)

    def is_due(self, now: float) -> bool:
        """Whether the next one may begin.

        Args:
            now: seconds of the same clock.
        """
        return now >= self._next
