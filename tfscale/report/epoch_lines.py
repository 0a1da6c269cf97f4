"""How far a run is, in lines: what a file, a pipe or a cluster's log shows in place of a bar."""

import numbers
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tfscale.report.tables import rounded

LINE_SECONDS = 30.0  # about so long nobody hears of a run that goes well


@dataclass
class _Stretch:
    """A part of the training whose speed is told.

    Args:
        began: when, in seconds of the clock.
        steps: that had been taken then.
        idle: seconds since then in which nothing was trained.
    """

    began: float
    steps: int
    idle: float = 0.0


class EpochLines(keras.callbacks.Callback):
    """Shows the first step, then a line now and then, and one for each epoch.

    It only looks on: what is trained does not depend on when a line is due.

    Args:
        show: gets each line.
        global_batch: examples per step.
        every_seconds: the shortest time between two lines, of the epochs' own apart.
        clock: gives seconds.
    """

    every_batch = False  # it only looks on

    def __init__(
        self,
        show: Callable[[str], None],
        global_batch: int,
        *,
        every_seconds: float = LINE_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Starts the clock, for the first step."""
        super().__init__()
        self._show = show
        self._global_batch = global_batch
        self._every_seconds = every_seconds
        self._clock = clock
        self._epoch = ""
        self._steps = 0
        self._steps_of_epoch = 0
        self._said = self._evaluated = self._began = clock()
        self._line = _Stretch(self._began, 0)
        self._whole = _Stretch(self._began, 0)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock again: what came before is no part of the first step."""
        self._began = self._clock()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's clock."""
        self._epoch = f"Epoch {epoch + 1}/{self.params['epochs']}"
        self._steps_of_epoch = 0
        self._whole = _Stretch(self._clock(), self._steps)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Shows where the run is, if a line is due."""
        is_first = not self._steps
        self._steps += batch + 1 - self._steps_of_epoch
        self._steps_of_epoch = batch + 1
        now = self._clock()
        if is_first:
            # Tracing and compiling are in it: it tells that they are over, and has no speed.
            self._tell(f"the first step took {now - self._began:.1f} s", logs, step=batch + 1)
            self._line, self._whole = _Stretch(now, self._steps), _Stretch(now, self._steps)
        elif now - self._said >= self._every_seconds:
            self._tell(self._speed(self._line), logs, step=batch + 1)
            self._line = _Stretch(now, self._steps)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Stops the clocks of the training."""
        self._evaluated = self._clock()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Shows that an evaluation goes on, if a line is due."""
        if self._clock() - self._said >= self._every_seconds:
            self._say(f"{self._epoch or 'The end'}, evaluation, step {batch + 1}: {_told(logs)}")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Lets the clocks of the training go on."""
        seconds = self._clock() - self._evaluated
        self._line.idle += seconds
        self._whole.idle += seconds

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Shows what the epoch came to."""
        self._tell(self._speed(self._whole), logs)
        self._line = _Stretch(self._clock(), self._steps)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """What is evaluated from now on is no epoch's."""
        self._epoch = ""

    def _tell(self, extra: str, logs: Mapping[str, Any] | None, step: int | None = None) -> None:
        steps = self.params.get("steps")
        place = "" if step is None else f", step {step}/{steps}" if steps else f", step {step}"
        told = [part for part in (_told(logs), extra) if part]
        self._say(f"{self._epoch}{place}: {'; '.join(told)}")

    def _say(self, line: str) -> None:
        self._said = self._clock()
        self._show(line)

    def _speed(self, stretch: _Stretch) -> str:
        """Of the training alone; nothing where no step was timed."""
        seconds = self._clock() - stretch.began - stretch.idle
        steps = self._steps - stretch.steps
        if not steps or seconds <= 0:
            return ""
        return f"{steps * self._global_batch / seconds:.0f} examples/s"


def _told(logs: Mapping[str, Any] | None) -> str:
    """The metrics that are single numbers, by name."""
    return ", ".join(
        f"{name} {rounded(float(value))}"
        for name, value in (logs or {}).items()
        if isinstance(value, numbers.Real)
    )
