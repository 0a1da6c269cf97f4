"""What may become of a worker, and whether all others end in time and name it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.faults.running import Running
from tests.jobs.workers import free_addresses
from tfscale.errors import FAILURE_CODE, START_TIMEOUT_CODE
from tools.bench import links

_WITHIN_SECONDS = 90.0  # a hang, from then on
_ENDED, _SILENT = ("has ended without saying why",), ("has not answered", "does not answer")


@dataclass(frozen=True)
class Outcome:
    """Of one run: seconds until all others were out, and what was wrong; "" if nothing was."""

    seconds: float
    problem: str


@dataclass(frozen=True)
class Settings:
    """Of all runs: how many workers, and their limits in seconds."""

    workers: int = 3
    heartbeat_timeout: float = 10.0
    start_timeout: float = 8.0


@dataclass(frozen=True)
class Fault:
    """Something that happens to a job.

    Args:
        play: makes it happen once.
        limit: gives the seconds within which all others are to be out.
        is_possible: whether it can be made to happen here.
    """

    play: Callable[[Settings], Outcome]
    limit: Callable[[Settings], float]
    is_possible: Callable[[], bool] = lambda: True


def _signalled(rank, number, words):
    def play(settings):
        timeout = f"--heartbeat_timeout={settings.heartbeat_timeout}"
        with Running(settings.workers, timeout) as job:
            job.wait_until_training()
            job.hit(rank, number)
            others = [other for other in job.workers if other != rank]
            return _outcome(job, {other: _named(job, rank, words) for other in others})

    return play


def _named(job, rank, words):
    """The ways to name a worker and what has become of it."""
    return [f"orker {rank} at {job.hosts[rank]} {word}" for word in words]


def _outcome(job, expected, code=FAILURE_CODE):
    """Waits for the end of some workers of a job in which something has just happened.

    Args:
        job: which.
        expected: by rank, texts of which one has to be in what a worker says when it ends.
        code: with which it ends.
    """
    others = [rank for rank in job.workers if rank not in expected]
    ended = job.all_ended(but=others, within=_WITHIN_SECONDS)
    problems = [
        f"worker {rank}: code {end.code}, {end.err.strip()!r}"
        for rank, end in ended.items()
        if end.code != code or not any(text in end.err for text in expected[rank])
    ]
    times = [job.workers[rank].seconds for rank in expected]
    seconds = max(_WITHIN_SECONDS if each is None else each for each in times)
    return Outcome(seconds, "; ".join(problems))


def _missing(settings):
    with Running(2, f"--start_timeout={settings.start_timeout}", ranks=[0]) as job:
        job.wait_until_waiting(0)
        expected = {0: _named(job, 1, ["(nothing listens there yet"])}
        return _outcome(job, expected, START_TIMEOUT_CODE)


def _taken(settings):
    """This process has the port of worker 1, which says so; the chief says what it finds there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        hosts = [*free_addresses(1), f"127.0.0.1:{port}"]
        with Running(hosts, f"--start_timeout={settings.start_timeout}") as job:
            job.wait_until_waiting(0)
            own = f"its own port {port}, which is taken by {psutil.Process().name()} (process "
            expected = {
                0: _named(job, 1, ["(something there accepts connections and says nothing"]),
                1: [f"{own}{os.getpid()})"],
            }
            return _outcome(job, expected, START_TIMEOUT_CODE)


def _cut(settings):
    """The second of two workers loses its link: packets get lost, and nobody is told."""
    timeout = f"--heartbeat_timeout={settings.heartbeat_timeout}"
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(links.shaped(2, 10_000))
        job = stack.enter_context(Running(link.hosts(2), timeout, before=link.command))
        job.wait_until_training()
        subprocess.run([*port_of(link, 1), "nomaster"], check=True)
        return _outcome(job, {rank: _named(job, 1 - rank, _SILENT) for rank in (0, 1)})


def port_of(link, rank):
    """What stands in front of what is done to a worker's port at the bridge of a link."""
    switch = f"{link.namespaces[rank].rpartition('-')[0]}-switch"
    return ["ip", "-n", switch, "link", "set", f"port{rank}"]


def has_namespaces():
    return os.geteuid() == 0 and bool(shutil.which("ip") and shutil.which("tc"))


_AFTER_A_KILL = 3.0


def _of_silence(settings):
    return settings.heartbeat_timeout + 2.0


def _of_start(settings):
    return settings.start_timeout + 5.0


FAULTS = {
    "SIGKILL of a worker": Fault(_signalled(1, signal.SIGKILL, _ENDED), lambda _: _AFTER_A_KILL),
    "SIGKILL of the chief": Fault(_signalled(0, signal.SIGKILL, _ENDED), lambda _: _AFTER_A_KILL),
    "SIGSTOP of a worker": Fault(_signalled(1, signal.SIGSTOP, _SILENT), _of_silence),
    "SIGSTOP of the chief": Fault(_signalled(0, signal.SIGSTOP, _SILENT), _of_silence),
    "a worker never comes": Fault(_missing, _of_start),
    "a port is taken": Fault(_taken, _of_start),
    "a link is cut": Fault(_cut, lambda settings: settings.heartbeat_timeout + 5.0, has_namespaces),
}
