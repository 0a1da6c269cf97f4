"""One training step as spans of time, for a picture and for a trace viewer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LANES = ("forward", "backward", "all-reduce", "update")


@dataclass(frozen=True)
class Span:
    """Something that took a while.

    Args:
        worker: global rank.
        lane: one of `LANES`.
        name: of the layer or the bucket.
        start: seconds since 1970.
        end: likewise.
    """

    worker: int
    lane: str
    name: str
    start: float
    end: float


def spans_of_step(
    worker: int,
    names: Sequence[str],
    *,
    start: float,
    forward: Sequence[float],
    backward: Sequence[float],
    ready: Sequence[float],
    done: Sequence[float],
    end: float,
) -> list[Span]:
    """The spans of a step, from the times at which its parts were done.

    Args:
        worker: global rank.
        names: of the layers, in forward order.
        start: of the step.
        forward: when each layer's forward was done.
        backward: when each layer's gradients were there; the last layer's are first.
        ready: when each bucket could leave.
        done: when each bucket was summed.
        end: of the step: what follows the last sum is the update.
    """
    forward_starts = [start, *forward[:-1]]
    spans = [
        Span(worker, "forward", name, begin, stop)
        for name, begin, stop in zip(names, forward_starts, forward, strict=True)
    ]
    backward_starts = [*backward[1:], forward[-1]]
    spans += [
        Span(worker, "backward", name, begin, stop)
        for name, begin, stop in reversed(list(zip(names, backward_starts, backward, strict=True)))
    ]
    spans += [
        Span(worker, "all-reduce", f"bucket {number}", begin, stop)
        for number, (begin, stop) in enumerate(zip(ready, done, strict=True))
    ]
    last = max([*done, backward[0]])
    return [*spans, Span(worker, "update", "update", last, max(end, last))]


def exposed_of(spans: Sequence[Span]) -> tuple[float, float]:
    """From the end of backward to the end of the last all-reduce."""
    backward = max(span.end for span in spans if span.lane == "backward")
    reduced = [span.end for span in spans if span.lane == "all-reduce"]
    return backward, max([backward, *reduced])


def chrome_trace(spans: Sequence[Span]) -> dict[str, Any]:
    """The spans in the Trace Event Format, which Chrome's tracing page and Perfetto open."""
    origin = min(span.start for span in spans)
    events: list[dict[str, Any]] = []
    for worker in sorted({span.worker for span in spans}):
        events.append(_metadata("process_name", worker, 0, {"name": f"worker {worker}"}))
        free: dict[str, list[float]] = {}
        for span in sorted((s for s in spans if s.worker == worker), key=lambda s: s.start):
            rows = free.setdefault(span.lane, [])
            row = next((n for n, until in enumerate(rows) if until <= span.start), len(rows))
            rows[row : row + 1] = [span.end]
            thread = 100 * LANES.index(span.lane) + row
            events.append(
                {
                    "name": span.name,
                    "cat": span.lane,
                    "ph": "X",
                    "ts": 1e6 * (span.start - origin),
                    "dur": 1e6 * (span.end - span.start),
                    "pid": worker,
                    "tid": thread,
                }
            )
        for lane, rows in free.items():
            for row in range(len(rows)):
                thread = 100 * LANES.index(lane) + row
                events.append(_metadata("thread_name", worker, thread, {"name": lane}))
                events.append(
                    _metadata("thread_sort_index", worker, thread, {"sort_index": thread})
                )
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _metadata(name: str, worker: int, thread: int, args: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": worker, "tid": thread, "args": args}
