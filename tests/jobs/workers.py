"""Starts real workers for a test, each with a deadline, and always ends them with SIGKILL."""

import atexit
import contextlib
import functools
import os
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

from tests.jobs import warm
from tfscale.cluster import ports
from tfscale.supervise.gang import Gang, Streams

ROOT = Path(__file__).resolve().parent.parent.parent
CLEAN = ("TF_CONFIG", "KERAS_BACKEND", "TF_USE_LEGACY_KERAS")


@dataclass(frozen=True)
class Ended:
    """How a worker ended: its exit code (None if it had to be killed) and what it said."""

    code: int | None
    out: str
    err: str


def start_all(commands, *, deadline_seconds, environ=(), cwd=ROOT, is_warm=False):
    """Run the commands at once; each ends by itself or by SIGKILL at the deadline.

    Args:
        commands: words of each, for a warm process those of a Python program.
        deadline_seconds: from now on.
        environ: what their environment has beside this process's.
        cwd: where they run.
        is_warm: whether they find TensorFlow imported (see warm.py); not for what is about the
            time before that, nor for numbers that two hash seeds could change.
    """
    environment = _environment() | dict(environ)
    if is_warm and warm.IS_POSSIBLE:
        return _start_warm(commands, environment, cwd, time.monotonic() + deadline_seconds)
    with contextlib.ExitStack() as files, Gang() as gang:
        started = []
        for command in commands:
            out, err = (files.enter_context(_text_file()) for _ in range(2))
            streams = Streams(stdout=out, stderr=err)
            member = gang.start(command, environ=environment, folder=cwd, streams=streams)
            started.append((member, out, err))
        deadline = time.monotonic() + deadline_seconds
        return [_end(*each, deadline) for each in started]


def _environment():
    environment = {name: value for name, value in os.environ.items() if name not in CLEAN}
    # Test workers have no GPU to look for, wherever they run.
    return environment | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONWARNINGS": "default"}


@functools.cache
def _starter(number):
    """What starts the warm processes of worker 0, or of all others: their hash seeds differ."""
    starter = warm.Starter(_environment())
    atexit.register(starter.end)
    return starter


def _start_warm(commands, environment, cwd, deadline):
    with contextlib.ExitStack() as files:
        started = []
        for number, command in enumerate(commands):
            out, err = (files.enter_context(_text_file()) for _ in range(2))
            starter = _starter(min(number, 1))
            pid = starter.start(command, environ=environment, folder=cwd, out=out, err=err)
            started.append((starter, pid, out, err))
        codes = [starter.wait(pid, deadline) for starter, pid, *_ in started]
        return [_ended(code, *each[2:]) for code, each in zip(codes, started, strict=True)]


def _text_file():
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


def _end(member, out, err, deadline):
    code = member.wait(deadline)
    member.kill()
    return _ended(code, out, err)


def _ended(code, out, err):
    for file in (out, err):
        file.seek(0)
    return Ended(code, out.read(), err.read())


def free_addresses(count):
    """Addresses as of `tfscale.cluster.ports`, but none that another process of this run is given.

    A port is free until a worker has imported TensorFlow: seconds, in which tests that run beside
    this one would be given it every fiftieth time that the whole suite runs.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    found = []
    while len(found) < count:
        # The system gives odd ports, or even ones: what is next to it is the half of a number.
        found = [
            address
            for address in ports.free_addresses(8 * processes * count)
            if int(address.rpartition(":")[2]) // 2 % processes == number
        ]
    return found[:count]


def worker_commands(flags, *, num_workers=2):
    """The commands that `num_workers` terminals would be given for launch/worker.py."""
    program = [sys.executable, str(ROOT / "launch" / "worker.py"), *flags]
    if num_workers == 1:
        return [program]
    hosts = ",".join(free_addresses(num_workers))
    return [[*program, f"--hosts={hosts}", f"--index={rank}"] for rank in range(num_workers)]


def written(path, *sources):
    """The path, for a flag, of a file of Python that a test's texts become, each dedented."""
    path.write_text("".join(textwrap.dedent(source) for source in sources))
    return str(path)


def stage_commands(scenes, out, shape):
    """Play scenes of tests/jobs/scenes one after the other on (workers, devices of each)."""
    num_workers, devices = shape
    hosts = ",".join(free_addresses(num_workers)) if num_workers > 1 else ""
    program = [sys.executable, "-m", "tests.jobs.scenes", str(out), hosts]
    return [[*program, str(rank), str(devices), *scenes] for rank in range(num_workers)]


def gallery_commands(names, out, shape):
    """Play entries of the gallery on (workers, devices of each), or in "plain" Keras."""
    if not names:
        return []
    folder = out / f"{shape}"
    folder.mkdir()
    program = [sys.executable, "-m", "tests.jobs.gallery", str(folder)]
    if shape == "plain":
        return [[*program, "plain", "0", "0", *names]]
    num_workers, devices = shape
    hosts = ",".join(free_addresses(num_workers)) if num_workers > 1 else ""
    return [[*program, hosts, str(rank), str(devices), *names] for rank in range(num_workers)]
