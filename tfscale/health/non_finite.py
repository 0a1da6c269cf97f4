"""What becomes of a step whose loss isn't finite: the run ends and says why, or it is skipped.

All workers hear the same verdict at the end of an on-device loop, so that none has to ask another
what to do.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from tfscale.errors import FAILURE_CODE, Kind, SharedFailure, one_line
from tfscale.fit.loop.events import Boundary
from tfscale.fit.loop.verdict import Finding
from tfscale.fit.prepare_job import Prepared
from tfscale.health.first_non_finite import causes
from tfscale.listener import Listener
from tfscale.startup.job import Job
from tfscale.structures import Json

MOST_IN_A_ROW = 100  # skipped steps, after which no more is to be hoped for
_MOST_NAMED = 20
_NOT_AGAIN = "it is finite when it is taken again from the last checkpoint"


class SkippedSteps(Listener):
    """How many steps were skipped.

    Attributes:
        count: of all starts of the run.
        first: the numbers of the first of them.
        in_a_row: up to now.
    """

    def __init__(self) -> None:
        self.count = self.in_a_row = 0
        self.first: list[int] = []

    def add(self, skipped: Sequence[int], first: int, last: int) -> int:
        """Counts those of the steps `first` to `last`; gives the most in a row up to now."""
        self.count += len(skipped)
        self.first = [*self.first, *skipped][:_MOST_NAMED]
        most, bad = self.in_a_row, set(skipped)
        for step in range(first, last + 1):
            self.in_a_row = self.in_a_row + 1 if step in bad else 0
            most = max(most, self.in_a_row)
        return most

    def get_state(self) -> dict[str, Json]:
        """All of it: the steps are those of the training, however often it began."""
        return {"count": self.count, "first": self.first, "in_a_row": self.in_a_row}

    def set_state(self, state: Mapping[str, Json]) -> None:
        """Continues to count."""
        self.count, self.first = state["count"], state["first"]
        self.in_a_row = state["in_a_row"]

    def report(self) -> dict[str, Json]:
        """How many, and the first of them; empty if none was skipped."""
        skipped = {"count": self.count, "steps": self.first} if self.count else {}
        return {"non_finite_steps": skipped}


class NonFinite(Listener):
    """Acts on the verdict about the steps of each on-device loop.

    Args:
        job: whose workers train.
        prepared: what trains.
        skipped: counts steps.
        what_stays: says, on the chief, what the run can resume from.
        way_back: puts the training back to a step; see `WayBack.to`.
        is_left_to_callback: whether a callback of the user's ends the training by itself.
    """

    def __init__(
        self,
        job: Job,
        prepared: Prepared,
        *,
        skipped: SkippedSteps,
        what_stays: Callable[[], str],
        way_back: Callable[..., list[int] | None],
        is_left_to_callback: bool,
    ) -> None:
        self.skipped = skipped
        self._job, self._prepared = job, prepared
        self._what_stays, self._way_back = what_stays, way_back
        self._is_left_to_callback = is_left_to_callback
        self._finding: Finding | None = None

    def at_boundary(self, boundary: Boundary) -> None:
        """Acts on the verdict about the last loop; called on every worker.

        Raises:
            SharedFailure: the run ends here.
        """
        verdict = boundary.verdict
        if verdict is None:
            return
        if self._job.config.on_nan == "skip":
            first = verdict.before + 1
            self._skipped(verdict.skipped_steps, first, verdict.before + verdict.steps)
        if self._finding is None and (finding := verdict.finding()):
            self._finding = finding
            if not self._is_left_to_callback or not finding.loss:
                # Behind the cause, which is to be the same in whatever loop a step is taken.
                end = verdict.before + verdict.steps
                told, step = self._told(finding)
                self._end(f"{told}; it was found after step {end}", step)

    def require_finite_weights(self) -> None:
        """Looks at the weights when training is over; called on every worker.

        Raises:
            SharedFailure: one isn't finite, and a model with it isn't saved.
        """
        bad = self._prepared.distributed.parts.finite.first_bad()
        if not bad:
            return
        if self._finding is not None:
            self._end(*self._told(self._finding))
        step = self._prepared.distributed.step
        told = f"Weight {bad} isn't finite after step {step}, the last one: no model is saved"
        self._end(told, step)

    def _skipped(self, steps: Sequence[int], first: int, last: int) -> None:
        most = self.skipped.add(steps, first, last)
        if not steps:
            return
        named = ", ".join(map(str, steps[:3])) + (" ..." if len(steps) > 3 else "")
        is_one = len(steps) == 1
        if self._job.cluster.is_chief:
            self._job.terminal.show(
                f"Step{'' if is_one else 's'} {named} {'was' if is_one else 'were'} skipped: loss "
                f"or gradients are not finite. So far: {self.skipped.count}."
            )
        if most >= MOST_IN_A_ROW:
            told = f"{MOST_IN_A_ROW} steps in a row were skipped, the last one is step {last}"
            self._end(told, last)

    def _end(self, what: str, step: int) -> None:
        """Ends the run on every worker, for what has happened at a step.

        Raises:
            SharedFailure: always.
        """
        stays = self._job.board.broadcast(
            "what stays", self._what_stays() if self._is_chief else ""
        )
        advice = {"stop": " --on_nan=skip leaves such steps out.", "skip": "", "rollback": ""}
        text = f"{what}; {stays}.{advice[self._job.config.on_nan]}"
        raise SharedFailure(text, FAILURE_CODE, Kind.NOT_FINITE, step)

    @property
    def _is_chief(self) -> bool:
        return self._job.cluster.is_chief

    def _told(self, finding: Finding) -> tuple[str, int]:
        """What was found, and where and at which step it began as far as that can be seen."""
        if self._is_chief:
            self._what_stays()  # nothing is written any more while the training goes back
        again = self._way_back(finding.step, skips=True)
        if again == []:
            return f"{self._seen(finding)}: {_NOT_AGAIN}", finding.step
        step, bad = finding.step, ""
        if again is None:
            bad = self._prepared.distributed.parts.finite.first_bad()
        else:
            step = again[0]
            self._way_back(step - 1)
        everybody = self._causes(step, bad)
        if step == finding.step and finding.loss:
            cause = everybody[finding.worker][finding.replica]
            return f"{self._seen(finding)}: {cause or _NOT_AGAIN}", step
        # The loss told of it later, or not at all: it began with whoever has a cause.
        found = [(w, r) for w, own in enumerate(everybody) for r, why in enumerate(own) if why]
        if again is None or not found:
            cause = everybody[found[0][0]][found[0][1]] if found else _NOT_AGAIN
            return f"{self._seen(finding)}: {cause}", finding.step
        worker, replica = found[0]
        who = self._named(worker, replica)
        why = everybody[worker][replica]
        return f"Step {step} on {who} made weights that are not finite: {why}", step

    def _seen(self, finding: Finding) -> str:
        if not finding.loss:
            return f"Weights are not finite after step {finding.step}"
        who = self._named(finding.worker, finding.replica)
        return f"The loss of step {finding.step} is {finding.loss} on {who}"

    def _causes(self, step: int, bad: str) -> list[list[str]]:
        """Of each worker's replicas, in words."""
        job, data = self._job, self._prepared.data.training
        try:
            own = causes(self._prepared.distributed, job.strategy, data, step - 1, bad)
        except Exception as error:  # whatever a step does, the run ends for its first reason
            own = [f"where it began can't be seen ({one_line(error)})"]
            own *= len(job.strategy.extended.worker_devices)
        return [json.loads(text) for text in job.board.all_gather("causes", json.dumps(own))]

    def _named(self, worker: int, replica: int) -> str:
        local = len(self._job.strategy.extended.worker_devices)
        return f"{self._job.cluster.named(worker)} (replica {worker * local + replica})"
