"""Starts a worker on its node, and ends it when nobody holds the connection any more.

    python -m tools.ssh.member

What it is to do comes by the standard input, so that no shell reads it and it is in no list of
processes. The worker has a process group of its own. It is killed when the input ends, because the
launcher or its machine is gone, and when nothing has come for half a minute, because the network
is: a connection that was cut off doesn't end by itself.
"""

import contextlib
import sys
import tempfile
import threading
import time
from pathlib import Path
from signal import SIGCONT, SIGTERM

from tfscale.errors import ConfigError, shell_code
from tfscale.startup.environment import worker_environment
from tfscale.supervise.commands import going_on
from tfscale.supervise.echo import echo
from tfscale.supervise.gang import Gang, Member
from tfscale.supervise.run_progress import Before, RunProgress
from tfscale.supervise.stop_signals import noted_stops
from tfscale.user_paths import local_path
from tools.ssh.messages import GO, LOST_SECONDS, STOP, Order, Record

_POLL_SECONDS = 0.05
_LOOK_SECONDS = 0.5


class _Courier:
    """What comes from the other end of the connection."""

    def __init__(self) -> None:
        self._heard = time.monotonic()
        self._has_ended = False
        self.may_go = threading.Event()
        self.wants_stop = False

    def listen(self) -> None:
        """Reads words until there are no more; for a thread of its own."""
        for line in sys.stdin:
            self._heard = time.monotonic()
            if line.strip() == GO:
                self.may_go.set()
            self.wants_stop |= line.strip() == STOP
        self._has_ended = True

    @property
    def is_gone(self) -> bool:
        """Whether nobody is there any more."""
        return self._has_ended or time.monotonic() - self._heard > LOST_SECONDS


class _Progress:
    """Tells how far the run is, whenever that has changed."""

    def __init__(self, order: Order) -> None:
        folder = None
        with contextlib.suppress(ConfigError):  # the worker has the words for that
            folder = Path(local_path(order.run_dir, "--run_dir")) if order.run_dir else None
        before = Before.of_text(order.before) if order.before else None
        self.seen = RunProgress(folder, 0, before)
        self._mark = order.mark
        self._looked = 0.0
        self._told = Record()

    def tell(self, *, now: bool = False) -> None:
        """Looks from time to time, or now."""
        if now or time.monotonic() >= self._looked + _LOOK_SECONDS:
            self._looked = time.monotonic()
            found = Record(step=self.seen.step, is_done=self.seen.is_done)
            if found != self._told:
                self._told = found
                echo(found.as_line(self._mark), sys.stderr)


def main() -> int:
    """Does what the order on the standard input says; gives the worker's exit code."""
    courier = _Courier()
    order = Order.of_text(sys.stdin.readline() or "{}")
    progress = _Progress(order)
    threading.Thread(target=courier.listen, daemon=True).start()
    echo(Record(before=progress.seen.before.as_text()).as_line(order.mark), sys.stderr)
    # What is there now has to be known elsewhere before there can be more of it.
    while not courier.may_go.wait(_POLL_SECONDS):
        if courier.is_gone:
            return 1
    with contextlib.ExitStack() as stack:
        # Outlasts the worker.
        ends = tempfile.TemporaryDirectory(prefix="tfscale-", ignore_cleanup_errors=True)
        record = Path(stack.enter_context(ends)) / "end.json"
        gang = stack.enter_context(Gang())
        # A checkpoint of this launch isn't overwritten, whatever the launcher has heard of it.
        words = going_on(order.command, progress.seen.step is not None)
        environ = worker_environment(record, order.environ)
        worker = gang.start([sys.executable, *words], environ=environ)
        code = _watch(worker, courier, progress)
        progress.tell(now=True)
        end = record.read_text(encoding="utf-8") if record.is_file() else ""
        echo(Record(code=code, end=end).as_line(order.mark), sys.stderr)
    return shell_code(code)


def _watch(worker: Member, courier: _Courier, progress: _Progress) -> int:
    """Waits for the worker's end, and passes on what comes; gives its code."""
    is_told = False
    with noted_stops() as stop:
        while (code := worker.poll()) is None:
            if courier.is_gone:
                worker.kill()
            elif (courier.wants_stop or stop.signal) and not is_told:
                is_told = True
                worker.send(SIGTERM)
                worker.send(SIGCONT)  # somebody may have stopped it
            progress.tell()
            time.sleep(_POLL_SECONDS)
    return code


if __name__ == "__main__":
    sys.exit(main())
