"""Steps run one after the other within a time, with a summary that is whole after each of them."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfscale.files import atomic
from tfscale.supervise.gang import Gang, Streams
from tools.gpu_check.steps import Step

_LEAST_SECONDS = 20.0  # in which a step can tell something
_SHOWN_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    Args:
        name: of the step.
        about: what it tells.
        seconds: that it took.
        code: its exit code, negative for a signal; None where it was ended at its limit, or not
            begun because the time was over.
        is_begun: whether it ran at all.
    """

    name: str
    about: str
    seconds: float
    code: int | None
    is_begun: bool = True

    @property
    def result(self) -> str:
        """In a word."""
        if not self.is_begun:
            return "no time left"
        if self.code is None:
            return "ended at its limit"
        return "ok" if self.code == 0 else f"exit code {self.code}"


def run(
    steps: Sequence[Step], out: Path, *, seconds: float, root: Path, say: Callable[[str], None]
) -> list[Outcome]:
    """Runs the steps, each with its own log, and writes the summary after each.

    Args:
        steps: in their order.
        out: the folder of results.
        seconds: for all of them; what doesn't begin in them isn't run.
        root: where the programs are.
        say: gets a line for each step.
    """
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + seconds
    (out / "logs").mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(steps, 1):
        left = deadline - time.monotonic()
        if left < min(_LEAST_SECONDS, step.limit_seconds):
            outcomes.append(Outcome(step.name, step.about, 0.0, None, is_begun=False))
        else:
            say(f"{number} of {len(steps)}: {step.about}")
            outcomes.append(_ran(step, out, min(left, step.limit_seconds), root))
            say(f"    {outcomes[-1].result}, {outcomes[-1].seconds:.0f} s")
        _write_summary(outcomes, out)
    return outcomes


def _ran(step: Step, out: Path, limit: float, root: Path) -> Outcome:
    began = time.monotonic()
    with (out / "logs" / f"{step.name}.log").open("wb") as log, Gang() as gang:
        try:
            streams = Streams(stdout=log, stderr=subprocess.STDOUT)
            member = gang.start(step.command, folder=root, streams=streams)
            code = member.wait(began + limit)
        except OSError as error:
            log.write(f"{error}\n".encode())
            code = 127  # a shell's, for a command that isn't there
    return Outcome(step.name, step.about, time.monotonic() - began, code)


def rates(out: Path) -> list[dict[str, Any]]:
    """What the benchmarks have measured so far.

    Returns:
        Of each its `run`, the `profile` that was trained, the `system`, how many replicas
        (`workers`), and `examples_per_second`.
    """
    names = ("profile", "system", "workers", "examples_per_second")
    found: list[dict[str, Any]] = []
    for path in sorted(out.glob("*/scaling.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        found += [{"run": path.parent.name} | {name: row[name] for name in names} for row in rows]
    return found


def against_plain_keras(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of a table: each system's rate, and as a share of plain Keras's with the same options.

    Args:
        rows: as of `rates`.
    """
    plain: dict[tuple[str, ...], float] = {}
    for row in rows:
        if row["system"].startswith("plain_keras"):
            options = row["system"].removeprefix("plain_keras")
            plain[row["profile"], options] = row["examples_per_second"]
            plain[row["run"], row["profile"], options] = row["examples_per_second"]
    lines = ["| model | system | replicas | examples/s | of plain Keras |", "| --- " * 5 + "|"]
    for row in rows:
        options = row["system"].removeprefix("tfscale")
        # Of the same run, where there is one: both took turns then.
        base = plain.get(
            (row["run"], row["profile"], options), plain.get((row["profile"], options))
        )
        base = base if row["workers"] == 1 else None
        share = f"{100 * row['examples_per_second'] / base:.1f} %" if base else ""
        rate = f"{row['examples_per_second']:.4g}"
        columns = (row["profile"], row["system"], str(row["workers"]), rate, share)
        lines.append(f"| {' | '.join(columns)} |")
    return lines


def _write_summary(outcomes: Sequence[Outcome], out: Path) -> None:
    measured = rates(out)
    content = {"steps": [asdict(outcome) for outcome in outcomes], "rates": measured}
    atomic.write_text(out / "summary.json", json.dumps(content, indent=1) + "\n")
    lines = ["# GPU check", "", "| step | what it tells | result | s |", "| --- " * 4 + "|"]
    lines += [
        f"| {one.name} | {one.about} | {one.result} | {one.seconds:.0f} |" for one in outcomes
    ]
    if measured:
        lines += ["", "## Speed", "", *against_plain_keras(measured)]
    for one in outcomes:
        log = out / "logs" / f"{one.name}.log"
        if one.is_begun and (one.code != 0 or one.name in ("doctor", "parity")):
            text = log.read_text(encoding="utf-8", errors="replace").splitlines()
            lines += ["", f"## {one.name}: {one.result}", "", *_indented(text)]
    atomic.write_text(out / "summary.md", "\n".join(lines) + "\n")


def _indented(lines: Sequence[str]) -> list[str]:
    """The last lines of a log, as a block of Markdown."""
    return [f"    {line}" for line in lines[-_SHOWN_LINES:]]
