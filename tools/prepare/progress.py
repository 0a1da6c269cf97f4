"""How far long work is: a bar where somebody looks at a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tfscale.process.terminal import Terminal

_LINE_SECONDS = 10.0

Tell = Callable[[int, int], None]


@contextmanager
def progress(
    terminal: Terminal, title: str, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Tell]:
    """Shows how many records are done, of how many, and how fast, while the context lasts.

    Args:
        terminal: a bar is drawn on it, or a line said every ten seconds; nothing if it is silent.
        title: what is done.
        clock: in seconds.

    Yields:
        What takes both numbers. What was done at its first call counts for no speed.
    """
    if terminal.verbosity:
        with _bar(title) as tell:
            yield tell
    else:
        yield _lines(terminal if terminal.wants_lines else Terminal(), title, clock)


@contextmanager
def _bar(title: str) -> Iterator[Tell]:
    from rich.progress import (  # 0.1 s, which programs without a bar don't pay
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[speed]}"), TimeRemainingColumn()),
    )
    pace = _Pace(time.monotonic)
    with Progress(*columns) as bars:
        task = bars.add_task(title, total=None, speed="")

        def tell(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, speed=pace.after(done))

        yield tell


def _lines(terminal: Terminal, title: str, clock: Callable[[], float]) -> Tell:
    pace = _Pace(clock)
    said = clock()

    def tell(done: int, total: int) -> None:
        nonlocal said
        speed = pace.after(done)
        if clock() - said >= _LINE_SECONDS:
            said = clock()
            terminal.show(f"{title}: {done:,} of {total:,} records, {speed}")

    return tell


class _Pace:
    """Examples a second since the first call."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def after(self, done: int) -> str:
        now = self._clock()
        if self._first is None:
            self._first = (now, done)
        seconds, count = now - self._first[0], done - self._first[1]
        return f"{count / seconds:,.0f} examples/s" if seconds > 0 else ""
