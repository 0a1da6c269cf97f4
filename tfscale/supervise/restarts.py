"""A run on this machine over all its attempts: started, watched, started again, ended for good."""

import time
from dataclasses import replace

from tfscale.errors import PREEMPTED_CODE, Kind, is_retryable
from tfscale.process.stop_request import StopWish
from tfscale.supervise.attempts import Attempt, Attempts, mark_logs
from tfscale.supervise.group_attempt import Ended, Launch, run_once, say
from tfscale.supervise.restart_policy import Budget, Decision
from tfscale.supervise.run_progress import RunProgress
from tfscale.supervise.stop_signals import noted_stops

_POLL_SECONDS = 0.05


def supervise(launch: Launch, *, restarts: int = 0) -> int:
    """Runs workers until they are done, and starts them all again where that may help.

    SIGINT, SIGTERM and SIGHUP are passed on as one SIGTERM; nothing is started after that. Each
    line about an end says who has ended, how, and what comes next; the last one the cause.

    Args:
        launch: what is started.
        restarts: how many there may be in a row without progress.

    Returns:
        What a shell would: 0, the code of the failure that was the last (128 + signal for a killed
        worker); after a signal 143 if all workers have saved and ended by themselves, else 129,
        130 or 143 for SIGHUP, SIGINT or SIGTERM.

    Raises:
        OSError: a command can't be started; those that were are ended.
    """
    with noted_stops() as stop:
        return _Supervisor(launch, restarts, stop).run()


class _Supervisor:
    def __init__(self, launch: Launch, restarts: int, stop: StopWish) -> None:
        self._launch = launch
        self._stop = stop
        self._is_heard = restarts > 0
        self._progress = RunProgress(launch.run_dir, launch.worker)
        folder = launch.run_dir if restarts else None  # without restarts there is one attempt
        self._attempts = Attempts(folder, launch.worker, has_peers=launch.has_peers)
        self._budget = Budget(restarts)
        self._first_cause = ""

    def run(self) -> int:
        while True:
            attempt, ended = self._attempt()
            decision = self._decide(attempt, ended)
            if decision.pause_seconds is None:
                code = self._end(attempt, ended, decision)
                cause = ended.cause if self._stop.signal is None else decision.why
                self._attempts.keep(replace(attempt, exit_code=code, cause=cause, is_final=True))
                return code
            self._attempts.keep(attempt)
            self._first_cause = self._first_cause or ended.cause
            cause = ended.cause.rstrip(".")
            line = (
                f"attempt {attempt.number} ended: {cause}. The next one begins in "
                f"{decision.pause_seconds:.1f} s{self._from(attempt)} ({decision.why})"
            )
            mark_logs(self._launch.run_dir, self._workers(ended), line)
            self._say(line, ended)
            if not self._pause(decision.pause_seconds):
                return self._end_between(attempt, ended)

    def _attempt(self) -> tuple[Attempt, Ended]:
        """Starts all workers and waits until all have ended."""
        number, started, began = self._attempts.next_number, time.time(), time.monotonic()
        ended = run_once(
            self._launch.commands(self._progress.step is not None),
            self._launch,
            self._stop,
            is_heard=self._is_heard,
            peer=self._attempts.end_of_a_peer,
        )
        attempt = Attempt(
            worker=self._launch.worker,
            number=number,
            started=started,
            seconds=time.monotonic() - began,
            exit_code=ended.code,
            cause=ended.cause,
            step=self._progress.step,
            is_final=False,
        )
        return attempt, ended

    def _decide(self, attempt: Attempt, ended: Ended) -> Decision:
        """Whether there is a next attempt; the budget is asked last."""
        if self._stop.signal is not None:
            return Decision(None, f"stopped by {self._stop.signal.name}")
        decision = self._budget.after(
            ended.end,
            attempt.step,
            seconds=attempt.seconds,
            sees_progress=self._progress.is_visible or self._launch.worker == 0,
        )
        if decision.pause_seconds is not None:
            if self._progress.is_done:
                return Decision(None, "its report is written, and there is nothing to go on with")
            if peer := self._attempts.end_of_a_peer():
                return Decision(None, f"so has worker {peer.worker}, for good: {peer.cause}")
        return decision

    def _end(self, attempt: Attempt, ended: Ended, decision: Decision) -> int:
        """Says why there is no next attempt, unless that was said; gives the exit code."""
        if self._stop.signal is not None:
            return self._tell_of_stop(ended)
        if not ended.code:
            return 0
        is_first = not self._first_cause
        # A worker alone has said its reason in the terminal's last line, and nobody asked for more.
        if len(ended.codes) > 1 or not (is_first and (ended.is_said or not self._is_heard)):
            earlier = ""
            if ended.end.kind is Kind.CONFIGURATION and not is_first:
                earlier = f"; the first failure was: {self._first_cause}"
            tries = "" if is_first else f" after attempt {attempt.number}"
            self._say(f"ended{tries}, {decision.why}: {ended.cause}{earlier}", ended)
        peer = self._attempts.end_of_a_peer()
        return peer.exit_code if peer and is_retryable(ended.code) else ended.code

    def _tell_of_stop(self, ended: Ended) -> int:
        """Says what became of the workers that were told to stop; gives the exit code."""
        name = self._stop.signal.name if self._stop.signal else ""
        if not any(ended.codes):
            self._say(f"{name} came when the run was done", ended)
            return 0
        lost = [
            str(worker)
            for worker, code in zip(self._workers(ended), ended.codes, strict=True)
            if code not in (0, PREEMPTED_CODE)
        ]
        kept, text = self._progress.step, f"stopped by {name}"
        # Whether it was written now, the workers have said.
        text += "; no new checkpoint" if kept is None else f"; the last checkpoint: step {kept}"
        if lost:
            text += f"; not ended by themselves: worker {', '.join(lost)}"
        elif kept is not None:
            text += ", from which the same command resumes"
        self._say(text, ended)
        return self._stop.code if lost else PREEMPTED_CODE

    def _end_between(self, attempt: Attempt, ended: Ended) -> int:
        """Ends while nothing runs: by a signal, or with another node's supervisor."""
        peer = self._attempts.end_of_a_peer()
        if self._stop.signal is not None:
            code, why = self._stop.code, f"stopped by {self._stop.signal.name}"
        else:
            code = peer.exit_code if peer else ended.code
            why = f"worker {peer.worker} has for good: {peer.cause}" if peer else ""
        none = replace(attempt, number=self._attempts.next_number, started=time.time(), seconds=0.0)
        self._attempts.keep(replace(none, exit_code=code, cause=why, is_final=True))
        self._say(f"ended between two attempts, {why}", ended)
        return code

    def _pause(self, seconds: float) -> bool:
        """Waits; False if something came that ends the run."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._stop.signal is not None or self._attempts.end_of_a_peer():
                return False
            time.sleep(_POLL_SECONDS)
        return self._stop.signal is None

    def _workers(self, ended: Ended) -> range:
        return range(self._launch.worker, self._launch.worker + len(ended.codes))

    def _from(self, attempt: Attempt) -> str:
        return "" if attempt.step is None else f" from step {attempt.step}"

    def _say(self, text: str, ended: Ended) -> None:
        say(text, is_alone=len(ended.codes) == 1)
