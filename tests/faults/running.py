"""Workers that train until something happens to them, as people start them: one command each."""

import contextlib
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.jobs.workers import ROOT, Ended, _environment, free_addresses
from tfscale.supervise.gang import Gang, Member, Streams

START_SECONDS = 180.0  # until the first epochs, on a busy machine
_POLL_SECONDS = 0.01
_FLAGS = (
    *("--dataset=datasets/digits.py", "--model=models/mlp.py"),
    *("--epochs=1000000", "--batch_size=60"),
)


@dataclass
class Worker:
    """One worker, the files that it writes to, and how long after a fault it has ended."""

    member: Member
    out: Path
    err: Path
    seconds: float | None = None

    @property
    def is_running(self):
        return self.member.poll() is None

    def ended(self):
        """How it has ended, or that it runs; see tests.jobs.workers."""
        return Ended(self.member.poll(), self.out.read_text(), self.err.read_text())


class Running:
    """A job whose workers are always ended; those of `ranks` are started now.

    Args:
        hosts: how many workers the job has on this machine's loopback, or all addresses.
        flags: of each worker, beside those of a training that doesn't end.
        ranks: who is started; everybody if None.
        before: gives the words in front of a worker's command for its rank.
    """

    def __init__(self, hosts, *flags, ranks=None, before=lambda rank: []):
        self.hosts = free_addresses(hosts) if isinstance(hosts, int) else list(hosts)
        self._before = before
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._words = [sys.executable, str(ROOT / "launch" / "worker.py"), *_FLAGS, *flags]
        self.run_dir = self._folder / "run"
        self._words += [f"--run_dir={self.run_dir}"]
        if len(self.hosts) > 1:
            self._words += [f"--hosts={','.join(self.hosts)}"]
        self._gang = self._stack.enter_context(Gang())
        self.began = time.monotonic()
        ranks = range(len(self.hosts)) if ranks is None else ranks
        self.workers = {rank: self._start(rank) for rank in ranks}

    def _start(self, rank):
        out, err = (self._folder / f"{rank}.{name}" for name in ("out", "err"))
        # What a worker keeps in a temporary folder of its own goes with it.
        environ = _environment() | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(self._folder)}
        with out.open("wb") as stdout, err.open("wb") as stderr:
            member = self._gang.start(
                [*self._before(rank), *self._words, *[f"--index={rank}"] * (len(self.hosts) > 1)],
                environ=environ,
                folder=ROOT,
                streams=Streams(stdout=stdout, stderr=stderr),
            )
        return Worker(member, out, err)

    def wait_until_training(self):
        """Returns when epochs end one after the other.

        Raises:
            RuntimeError: a worker has ended, or it took too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while "Epoch 3/" not in self.workers[0].out.read_text():
            workers = self.workers.values()
            if time.monotonic() > deadline or not all(each.is_running for each in workers):
                raise RuntimeError(f"no training: {[each.ended() for each in workers]}")
            time.sleep(_POLL_SECONDS)

    def wait_until_waiting(self, rank):
        """Returns when a worker has imported what it needs, and waits for the others."""
        host, _, port = self.hosts[rank].rpartition(":")
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.workers[rank].is_running:
            with contextlib.suppress(OSError):
                socket.create_connection((host, int(port)), timeout=1.0).close()
                return
            time.sleep(_POLL_SECONDS)

    def hit(self, rank, number=signal.SIGKILL):
        """Sends a signal to one worker."""
        self.workers[rank].member.send(number)

    def all_ended(self, *, but=(), within):
        """How all workers but some have ended, by their ranks.

        Each has the seconds since now, None if it still runs when the time is over.
        """
        began = time.monotonic()
        left = {rank: worker for rank, worker in self.workers.items() if rank not in but}
        everybody = dict(left)
        while left and time.monotonic() - began < within:
            for rank, worker in tuple(left.items()):
                if not worker.is_running:
                    worker.seconds = time.monotonic() - began
                    del left[rank]
            time.sleep(_POLL_SECONDS)
        return {rank: worker.ended() for rank, worker in everybody.items()}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()
