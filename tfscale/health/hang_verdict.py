"""Who holds everybody up, told from where each worker says that it is."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tfscale.health.deadlines import DATA, EVALUATION, START, STEP

_ALIKE = "Let all decide alike: a callback without everywhere = True decides for all"


@dataclass(frozen=True)
class Report:
    """What a worker says of itself.

    Args:
        section: it is in.
        what: it does, in words that follow "has been".
        seconds: since when it has done nothing else.
        deadline: seconds that it may; infinite for as long as it takes.
        waits: whether it waits for others, or may do so.
        point: how many points of the run, which are the same on all workers, it has passed.
        step: training steps that are over on it.
        is_in_fit: whether it is within `fit`.
        is_over: whether it was, and isn't any more.
        is_stopped: whether `stop_training` is set on it.
    """

    section: str
    what: str
    seconds: float
    deadline: float
    waits: bool = False
    point: int = 0
    step: int = 0
    is_in_fit: bool = False
    is_over: bool = False
    is_stopped: bool = False

    def as_text(self) -> str:
        """For the board."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> "Report":
        """From the board."""
        return cls(**json.loads(text))

    @property
    def left(self) -> float:
        """Seconds until its time is over."""
        return self.deadline - self.seconds

    @property
    def where(self) -> str:
        """Where it is, as what follows "waits for it"."""
        if self.section == STEP:
            return f"in step {self.step + 1}"
        if self.section == EVALUATION:
            return f"in an evaluation after step {self.step}"
        if self.section in (START, DATA):
            return "at its start"
        if self.is_over:
            return "at the end"
        return f"after step {self.step}"


@dataclass(frozen=True)
class HangVerdict:
    """Why a run stands still.

    Args:
        line: that says so, without a period at its end.
        seconds_left: until it must end; at most 0 if it must now.
    """

    line: str
    seconds_left: float


def judge(
    reports: Sequence[Report | None], addresses: Sequence[str], asking: int, *, silent: float
) -> HangVerdict | None:
    """Who holds everybody up; None if nobody can be told from the others, as yet.

    Args:
        reports: of all workers in the order of the rank; None of who doesn't answer.
        addresses: of the workers; empty for a lone one.
        asking: rank of the worker that asks.
        silent: seconds that the others may wait for a worker which doesn't answer.
    """
    names = names_of(addresses)
    own = reports[asking]
    if own is None:
        return None
    mute = [rank for rank, report in enumerate(reports) if report is None]
    if mute:
        line = (
            f"{names[mute[0]]} hasn't answered for {own.seconds:.0f} s: its process is stopped, or "
            f"code in it holds Python's lock{_waiting(reports, mute[0])}"
        )
        return HangVerdict(line, silent - own.seconds)
    known = [report for report in reports if report is not None]
    busy = [rank for rank, report in enumerate(known) if not report.waits]
    if busy:
        rank = min(busy, key=lambda one: (known[one].point, -known[one].seconds))
        report = known[rank]
        since = f"has been {report.what} for {report.seconds:.0f} s"
        if report.section not in (START, DATA):
            since += f" since step {report.step}"
        return HangVerdict(f"{names[rank]} {since}{_waiting(known, rank)}", report.left)
    # All of them wait. Each must have done so for the time: one may have come this moment.
    seconds = min(report.seconds for report in known)
    left = min(report.deadline for report in known) - seconds
    if found := unequal(known, names):
        return HangVerdict(found, left)
    if len(known) == 1:
        return HangVerdict(f"{names[0]} has been {known[0].where} for {seconds:.0f} s", left)
    together = f"All workers have been {known[0].where} for {seconds:.0f} s, none in Python and"
    slow = "" if known[0].step else "a first step that takes long, or "
    return HangVerdict(
        f"{together} none without input: {slow}look at the network between them", left
    )


def names_of(addresses: Sequence[str]) -> list[str]:
    """What workers are called; there are no addresses of a lone one."""
    names = [f"Worker {rank} at {address}" for rank, address in enumerate(addresses)]
    return names or ["This worker"]


def unequal(reports: Sequence[Report], names: Sequence[str]) -> str:
    """What some workers have decided and others have not, or "".

    Args:
        reports: of all workers.
        names: of them.
    """
    over = [rank for rank, report in enumerate(reports) if report.is_over]
    inside = [rank for rank, report in enumerate(reports) if report.is_in_fit]
    stopped = [rank for rank, report in enumerate(reports) if report.is_stopped]
    training = [rank for rank, report in enumerate(reports) if not report.is_stopped]
    places = [(report.point, report.section) for report in reports]
    if over and inside:
        first, other = over[0], inside[0]
        did = f"has left training after step {reports[first].step}"
    elif stopped and training:
        first, other = stopped[0], training[0]
        did = f"leaves training after step {reports[first].step}"
    elif all(place == places[0] for place in places):
        return ""
    else:
        ordered = sorted(range(len(reports)), key=lambda rank: places[rank])
        first, other, did = ordered[0], ordered[-1], f"waits {reports[ordered[0]].where}"
    why = ""
    if reports[first].is_stopped and not reports[other].is_stopped:
        why = f" (stop_training was set there, and not on worker {other})"
    return (
        f"{names[first]} {did}{why}, and worker {other} waits for it "
        f"{reports[other].where}: they have decided otherwise. {_ALIKE}"
    )


def _waiting(reports: Sequence[Report | None], rank: int) -> str:
    """Who waits for a worker, and where."""
    others = {
        other: report.where
        for other, report in enumerate(reports)
        if other != rank and report is not None and report.waits
    }
    if not others:
        return ""
    first, where = next(iter(others.items()))
    if len(others) == 1:
        return f"; worker {first} waits for it {where}"
    return f"; {len(others)} workers wait for it, worker {first} {where}"


def is_worth_a_line(reports: Sequence[Report | None], verdict: HangVerdict) -> bool:
    """Whether people want to know of it before it ends the run: somebody waits for somebody.

    A lone worker's data is what it waits for itself. Until a step is taken workers may all wait,
    each for another one.
    """
    known = [report for report in reports if report is not None]
    if len(known) < len(reports):
        return True
    waiting = [report for report in known if report.waits]
    if len(known) == 1:
        return known[0].section == DATA
    if not any(report.step for report in known):
        return bool(waiting)
    return 0 < len(waiting) < len(known) and not math.isnan(verdict.seconds_left)
