"""One logical training that has fault after fault, as a scheduler would run it.

It is started with launch/local.py, which starts it again after failures. After what ends a launcher
for good, a SIGTERM at a worker, the same command is given again, until there is a report.
"""

import contextlib
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from safetensors.numpy import load_file

from tests.faults.runs import STEPS_PER_EPOCH, flags, result
from tests.faults.worker import ORDER
from tests.jobs.workers import ROOT, _environment
from tfscale.supervise.gang import Gang, Streams

STOPPED = (130, 143)  # what a launcher ends with that somebody stopped: it is to be started again
EVERY_STEPS = 4  # from one checkpoint to the next
_POLL_SECONDS = 0.05
_GONE_SECONDS = 10.0  # in which what was killed must be gone
_HEARTBEAT_SECONDS = 5.0  # the shortest that no busy machine takes for a lost worker
_STEP_SECONDS = 20.0  # after which a step doesn't come any more, also on a busy machine
KINDS = (
    *("exception", "exception_in_thread", "exception_in_handler", "abort", "segfault"),
    *("sigint", "sigkill", "sigterm", "sigstop", "full_disk", "cut_link", "kill_in_save", "slow"),
    *("lock_held", "hang", "hang_in_input", "nan"),
)
_READ_AHEAD_STEPS = 32  # whose examples are made before anybody notices that no more come
OF_CHIEF = ("full_disk", "kill_in_save")


@dataclass(frozen=True)
class Fault:
    """One that is ordered: after which step, and at whom."""

    kind: str
    step: int
    worker: int

    def __str__(self):
        return f"{self.kind}@{self.step}:{self.worker}"


def drawn(count, seed, *, kinds=KINDS, workers=2):
    """Faults one after the other; each kind as often as the others, in a random order."""
    generator = random.Random(seed)
    order = [kinds[number % len(kinds)] for number in range(count)]
    generator.shuffle(order)
    faults, step = [], EVERY_STEPS
    for kind in order:
        # Two checkpoints lie between two faults: a crash loop is another test's.
        step += generator.randint(2 * EVERY_STEPS, 4 * EVERY_STEPS)
        worker = 0 if kind in OF_CHIEF else generator.randrange(workers)
        faults.append(Fault(kind, step, worker))
        step += _READ_AHEAD_STEPS * (kind == "hang_in_input")
    return faults


class Step(NamedTuple):
    """One that is over: its number, when on the clock of this machine, and in which process."""

    number: int
    at: float
    process: str


def steps_in(times):
    """The steps that a chief has written to a file, also those that were taken again."""
    words = map(str.split, times.read_text().splitlines())
    return [Step(int(number), float(at), process) for number, at, process in words]


@dataclass
class Played:
    """What became of a training.

    Args:
        folder: that it had.
        seconds: from its first start to its report.
        launches: of a launcher.
        gave_up: launchers that ended for good without being stopped: their codes and last lines.
        hangs: how often nothing happened until the deadline, with the launcher's last line.
        is_done: whether there is a report.
        left: processes, temporary folders and unfinished files that were there at the end.
    """

    folder: Path
    seconds: float = 0.0
    launches: int = 0
    gave_up: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    is_done: bool = False
    left: list[str] = field(default_factory=list)

    @property
    def attempts(self):
        """How often the workers were started."""
        return len(list(self.folder.glob("run/attempts/worker-0.*.json")))

    @property
    def notes(self):
        """Each fault that has happened, in the order of time."""
        notes = [json.loads(path.read_text()) for path in self.folder.glob("run/faults/*.json")]
        return sorted(notes, key=lambda note: note["at"])

    @property
    def steps(self):
        """Each step that was taken, also those that were taken again."""
        return steps_in(self.folder / "times")

    def result(self):
        """The hash of the weights, every step's loss on each worker, and the report."""
        return result(self.folder)


def play(folder, faults, *, epochs, workers=2, deadline_seconds=180.0, more=()):
    """Trains to the report, however often that has to be begun.

    Args:
        folder: a new one.
        faults: that happen; none for a clean run.
        epochs: of the training.
        workers: of it.
        deadline_seconds: in which a step, or a fault, has to happen.
        more: flags.
    """
    folder.mkdir()
    (folder / "tmp").mkdir()
    orders = ",".join(map(str, faults))
    environ = _environment() | {ORDER: orders, "TMPDIR": str(folder / "tmp")}
    words = [sys.executable, "tests/faults/local.py", f"--workers={workers}", "--restarts=3", "--"]
    words += [*flags(folder, f"--epochs={epochs}"), f"--checkpoint_every_steps={EVERY_STEPS}"]
    words += [f"--model_option=times_file={folder / 'times'}", "--model_option=patience=1000000"]
    words += [f"--dataset_option=hang_file={folder / 'run' / 'faults' / 'hang_in_input'}"]
    words += [f"--heartbeat_timeout={_HEARTBEAT_SECONDS}", "--bucket_mb=4"]
    words += [f"--step_timeout={_STEP_SECONDS}"]
    words += more
    played, began = Played(folder), time.monotonic()
    most = 2 * len(faults) + 3  # a launcher that can't be started again and again ends this, too
    while not played.is_done and played.launches < most:
        played.launches += 1
        _launch(played, words, environ, deadline_seconds)
        played.is_done = (folder / "run" / "report.json").exists()
    played.seconds = time.monotonic() - began
    played.left = _left(folder)
    return played


def _launch(played, words, environ, deadline_seconds):
    """Starts the launcher once, and waits for its end as long as something happens."""
    log = played.folder / "launcher.log"
    with log.open("ab") as out, Gang() as gang:
        streams = Streams(stdout=out, stderr=out)
        launcher = gang.start(words, environ=environ, folder=ROOT, streams=streams)
        seen, since = None, time.monotonic()
        while (code := launcher.poll()) is None:
            now, state = time.monotonic(), _state(played.folder)
            if state != seen:
                seen, since = state, now
            if now - since > deadline_seconds:
                played.hangs.append(_last_line(log))
                return
            time.sleep(_POLL_SECONDS)
    if code and code not in STOPPED:
        played.gave_up.append(f"{code}: {_last_line(log)}")


def _state(folder):
    """Another one whenever a step was taken or a fault has happened."""
    with contextlib.suppress(OSError):
        faults = len(list((folder / "run" / "faults").glob("*")))
        return (folder / "times").stat().st_size, faults
    return None


def _last_line(path):
    return (path.read_text(errors="replace").strip().splitlines() or [""])[-1]


def _left(folder):
    deadline = time.monotonic() + _GONE_SECONDS
    while (processes := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    kept = [path for path in (folder / "tmp").iterdir() if path.suffix != ".log"]
    kept += list((folder / "run").rglob(".tmp-*"))
    return [*processes, *(str(path.relative_to(folder)) for path in kept)]


def processes_of(folder):
    """The processes that have a folder's `tmp` for temporary files, whoever started them."""
    mark, found = f"TMPDIR={folder / 'tmp'}\0".encode(), []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark in (process / "environ").read_bytes():
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                found.append(f"process {process.name}: {words.decode(errors='replace')[:80]}")
    return found


def epochs_for(faults):
    """How many epochs a training needs so that all faults come before its end."""
    return (max(fault.step for fault in faults) + 4 * EVERY_STEPS) // STEPS_PER_EPOCH + 1


def differences(clean, faulty):
    """What of a training with faults isn't what it is without."""
    if not faulty.is_done:
        return ["there is no report"]
    (sha256, losses, _), (other_sha256, other_losses, _) = clean.result(), faulty.result()
    found = ["the SHA-256 of the weights"] * (sha256 != other_sha256)
    found += [name for name in losses if losses[name] != other_losses.get(name)]
    states, others = _last_state(clean), _last_state(faulty)
    return found + [name for name in states if states[name] != others.get(name)]


def _last_state(played):
    """Optimizer, random states, metrics and batch statistics at the end, bit for bit."""
    last = max((played.folder / "run" / "checkpoints").glob("step-*"))
    arrays = {}
    for path in last.glob("*.safetensors"):
        arrays |= load_file(path)
    # What callbacks keep is in the losses, or says how long steps took.
    return {name: one.tobytes() for name, one in arrays.items() if not name.startswith("callback/")}
