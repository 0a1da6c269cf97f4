"""Runs a whole program of `programs/` on several workers of this machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfscale.bench.groups import BenchmarkError
from tfscale.bench.programs.task import WholeTask

_ROOT = Path(__file__).resolve().parents[2]
_DEADLINE_SECONDS = 300.0


@dataclass(frozen=True)
class Run:
    """One program, run once.

    Args:
        start: of the first process, in seconds since 1970.
        end: of the last.
        answers: what each worker told; see `programs`.
    """

    start: float
    end: float
    answers: list[dict[str, float]]


def run(program: str, tasks: Sequence[WholeTask]) -> Run:
    """Runs a program once, one process a task, all at the same time.

    Args:
        program: a module of `programs/`.
        tasks: what each worker does.

    Raises:
        BenchmarkError: a worker failed or took too long; all are ended.
    """
    start, processes = time.time(), []
    try:
        for task in tasks:
            processes.append(_start(program, task))
        answers = [_answer(program, process, start + _DEADLINE_SECONDS) for process in processes]
        return Run(start, time.time(), answers)
    finally:
        for process in processes:
            _stop(process)


def _start(program: str, task: WholeTask) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - this project's own module
        [sys.executable, "-m", f"tfscale.bench.programs.{program}", task.to_json()],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def _stop(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answer(program: str, process: "subprocess.Popen[str]", deadline: float) -> dict[str, float]:
    try:
        output, _ = process.communicate(timeout=max(0.0, deadline - time.time()))
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{program} did not end in time") from None
    if process.returncode or not output:
        raise BenchmarkError(f"{program} ended with code {process.returncode}: run it alone")
    values: dict[str, float] = json.loads(output)
    return values
