"""One training step as spans of time, for a picture and for a trace viewer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LANES = ("forward", "backward", "all-reduce", "update")
_MOST_ROWS = 1000  # of a lane in a trace


@dataclass(frozen=True)
class Span:
    """Something that took a while.

    Args:
        worker: global rank.
        lane: one of `LANES`.
        name: of the layer or the bucket.
        start: in seconds, on a clock that all workers share.
        end: likewise.
    """

    worker: int
    lane: str
    name: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Moments:
    """When the parts of one worker's step were done, in seconds, on a clock that all share.

    Args:
        start: of the step.
        forward: when each layer's forward was done, in forward order.
        backward: when each layer's gradients were there, in forward order too, so that the last
            one is the earliest.
        ready: when each bucket could leave.
        done: when each bucket was summed.
        end: of the step: what follows the last sum is the update.
    """

    start: float
    forward: Sequence[float]
    backward: Sequence[float]
    ready: Sequence[float]
    done: Sequence[float]
    end: float


def spans_of_step(
    worker: int, names: Sequence[str], moments: Moments, buckets: Sequence[str] = ()
) -> list[Span]:
    """The spans of a step, from the times at which its parts were done.

    A layer starts when the one before it was done: an accelerator computes one after the other.

    Args:
        worker: global rank.
        names: of the layers, in forward order.
        moments: of the step.
        buckets: names of the buckets; numbers from 0 if there are none.
    """
    labels = buckets or [str(number) for number in range(len(moments.ready))]
    forwards = _one_after_the_other(worker, "forward", names, moments.forward, moments.start)
    turn = forwards[-1].end if forwards else moments.start
    backwards = _one_after_the_other(worker, "backward", names, moments.backward, turn)
    travels = [
        Span(worker, "all-reduce", name, begin, max(begin, stop))
        for name, begin, stop in zip(labels, moments.ready, moments.done, strict=True)
    ]
    last = max([turn, *(span.end for span in [*backwards, *travels])])
    update = Span(worker, "update", "", last, max(moments.end, last))
    return [*forwards, *backwards, *travels, update]


def _one_after_the_other(
    worker: int, lane: str, names: Sequence[str], ends: Sequence[float], start: float
) -> list[Span]:
    spans = []
    for end, name in sorted(zip(ends, names, strict=True), key=lambda pair: pair[0]):
        spans.append(Span(worker, lane, name, start, max(start, end)))
        start = spans[-1].end
    return spans


def exposed_of(spans: Sequence[Span]) -> tuple[float, float]:
    """From the end of backward to the end of the last all-reduce, of one worker's step."""
    backward = max(span.end for span in spans if span.lane == "backward")
    reduced = [span.end for span in spans if span.lane == "all-reduce"]
    return backward, max([backward, *reduced])


def side_by_side(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    """Gives each span the first row on which nothing else runs at that time, by their starts."""
    until: list[float] = []
    placed = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        row = next((row for row, end in enumerate(until) if end <= span.start), len(until))
        until[row : row + 1] = [span.end]
        placed.append((row, span))
    return placed


def chrome_trace(spans: Sequence[Span]) -> dict[str, Any]:
    """The spans in the Trace Event Format, which Perfetto and Chrome's tracing page open.

    A worker is a process, a lane a thread; what overlaps in a lane gets further threads. Times are
    microseconds from the first start.
    """
    origin = min((span.start for span in spans), default=0.0)
    events: list[dict[str, Any]] = []
    for worker in sorted({span.worker for span in spans}):
        events.append(_about(worker, None, "process_name", name=f"worker {worker}"))
        events.append(_about(worker, None, "process_sort_index", sort_index=worker))
        for lane_number, lane in enumerate(LANES):
            own = [span for span in spans if (span.worker, span.lane) == (worker, lane)]
            placed = side_by_side(own)
            for row in sorted({row for row, _ in placed}):
                thread = _MOST_ROWS * lane_number + row
                name = f"{lane} {row + 1}" if row else lane
                events.append(_about(worker, thread, "thread_name", name=name))
                events.append(_about(worker, thread, "thread_sort_index", sort_index=thread))
            events += [_event(span, _MOST_ROWS * lane_number + row, origin) for row, span in placed]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _event(span: Span, thread: int, origin: float) -> dict[str, Any]:
    # A clock since 1970 has no finer ticks than a quarter of a microsecond in a float64.
    start, end = (round(1e6 * (time - origin), 3) for time in (span.start, span.end))
    return {
        "ph": "X",
        "name": span.name or span.lane,
        "cat": span.lane,
        "pid": span.worker,
        "tid": thread,
        "ts": start,
        "dur": round(end - start, 3),
    }


def _about(worker: int, thread: int | None, what: str, **args: str | int) -> dict[str, Any]:
    place = {"pid": worker} if thread is None else {"pid": worker, "tid": thread}
    return {"ph": "M", "name": what, **place, "args": args}
