"""Workers that train until something happens to them, as people start them: one command each."""

import contextlib
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.jobs.workers import ROOT, Ended, _environment, free_addresses
from tfscale.supervise.gang import Gang, Streams

START_SECONDS = 120.0  # until the first epochs, on a busy machine
_POLL_SECONDS = 0.01
FLAGS = (
    *("--dataset=datasets/digits.py", "--model=models/mlp.py"),
    *("--epochs=1000000", "--batch_size=60"),
)


@dataclass
class Worker:
    """One worker, and the files that it writes to."""

    member: object
    out: Path
    err: Path
    seconds: float | None = None  # from the fault to its end

    def ended(self):
        """How it has ended; see tests.jobs.workers."""
        return Ended(self.member.poll(), self.out.read_text(), self.err.read_text())


class Running:
    """A job of several workers that are started together and always ended.

    Args:
        num_workers: how many are started.
        flags: more of each worker's.
        hosts: of all workers, of which some may be missing; loopback's if empty.
        before: words in front of each worker's command.
    """

    def __init__(self, num_workers, *flags, hosts=(), before=lambda rank: []):
        self.hosts = list(hosts) or free_addresses(num_workers)
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._gang = self._stack.enter_context(Gang())
        self._words = [sys.executable, str(ROOT / "launch" / "worker.py"), *FLAGS, *flags]
        self._words += [f"--run_dir={self._folder / 'run'}", f"--hosts={','.join(self.hosts)}"]
        self.workers = [self.start(rank, before(rank)) for rank in range(num_workers)]

    def start(self, rank, before=()):
        """Starts one worker; the others have been started before it."""
        out, err = (self._folder / f"{rank}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            member = self._gang.start(
                [*before, *self._words, f"--index={rank}"],
                environ=_environment() | {"PYTHONUNBUFFERED": "1"},
                folder=ROOT,
                streams=Streams(stdout=stdout, stderr=stderr),
            )
        return Worker(member, out, err)

    def wait_until_training(self):
        """Returns when epochs end one after the other, or fails with what the workers say."""
        self.wait_for(lambda: "Epoch 3/" in self.workers[0].out.read_text(), "train")

    def wait_for(self, is_done, what, seconds=START_SECONDS):
        """Returns when it is done; fails at the deadline, or if a worker ends before."""
        deadline = time.monotonic() + seconds
        while not is_done():
            if time.monotonic() > deadline or any(
                w.member.poll() is not None for w in self.workers
            ):
                raise RuntimeError(f"the workers don't {what}: {[w.ended() for w in self.workers]}")
            time.sleep(_POLL_SECONDS)

    def signal(self, rank, number=signal.SIGKILL):
        """Sends a signal to one worker."""
        self.workers[rank].member.send(number)

    def others_ended(self, rank, deadline_seconds):
        """How all but one worker have ended; each has its seconds, None at the deadline."""
        began = time.monotonic()
        left = [worker for number, worker in enumerate(self.workers) if number != rank]
        everybody = list(left)
        while left and time.monotonic() - began < deadline_seconds:
            for worker in list(left):
                if worker.member.poll() is not None:
                    worker.seconds = time.monotonic() - began
                    left.remove(worker)
            time.sleep(_POLL_SECONDS)
        return [worker.ended() for worker in everybody]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()
