"""How long workers stand still before they end with the reason: python -m tests.faults.hangs

For each kind of hang: seconds from its beginning to the end of the last worker, less the deadline,
and whether the line names the worker. With --runs=N each kind is tried so often.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.costs import say
from tests.jobs.workers import ROOT, start_all, worker_commands

STEP_TIMEOUT = 8.0
_AT_ONCE = ("--batch_size=32", "--steps_per_epoch=8", "--epochs=2", "--keep_checkpoints=0")
_DEADLINE_SECONDS = 150.0

# What each kind is made of, whose line it is, and a part of it that says what hangs.
KINDS = {
    "callback": (["model:hang=callback"], "Worker 1 at", "in on_train_batch_end of Hanging"),
    "step": (["model:hang=step"], "Worker 1 at", "(wait, hang_model.py"),
    "input": (["dataset:hang_at=100"], "Worker 1 at", "waiting for its input (preprocess)"),
    "lock": (["model:hang=lock"], "Worker 1 at", "holds Python's lock"),
    "chief": (["model:hang=callback", "model:at_worker=0"], "Worker 0 at", "of Hanging"),
    "leave": (["model:hang=leave"], "Worker 1 at", "leaves training after step 5"),
    "validation": (["model:hang=validation"], "Worker 1 at", "in on_test_batch_end of Hanging"),
}


@dataclass(frozen=True)
class Outcome:
    """How a run with a hang has ended.

    Args:
        late_seconds: from the deadline to the end of the last worker; None if nothing hung.
        lines: the last line that each worker said, without its log.
        codes: exit codes.
        stacks: what each worker wrote down, by the name of the file.
    """

    late_seconds: float | None
    lines: list[str]
    codes: list[int | None]
    stacks: dict[str, str]

    def is_named(self, kind):
        """Whether the line of all who could say it names the worker and what it does."""
        _, who, what = KINDS[kind]
        said = [line.removeprefix("RuntimeError: ") for line in self.lines if line]
        return bool(said) and all(line.startswith(who) and what in line for line in said)


def play(kind, folder, *, num_workers=2, step_timeout=STEP_TIMEOUT, more=()):
    """Runs a training in which something hangs, to its end."""
    options = [option.partition(":") for option in [*KINDS[kind][0], *more]]
    flags = [
        f"--dataset={ROOT / 'tests/faults/hang_dataset.py'}",
        f"--model={ROOT / 'tests/faults/hang_model.py'}",
        f"--run_dir={folder / 'run'}",
        *_AT_ONCE,
        f"--step_timeout={step_timeout}",
        *(f"--{file}_option={setting}" for file, _, setting in options),
    ]
    commands = worker_commands(flags, num_workers=num_workers)
    environ = {"TMPDIR": str(folder)}
    ended = start_all(commands, deadline_seconds=_DEADLINE_SECONDS, environ=environ, is_warm=True)
    now = time.time()
    began = [
        float(line.rpartition(" ")[2])
        for worker in ended
        for line in worker.out.splitlines()
        if line.startswith("hangs at ")
    ]
    logs = folder / "run" / "logs"
    return Outcome(
        now - min(began) - step_timeout if began else None,
        [(worker.err.strip().splitlines() or [""])[-1] for worker in ended],
        [worker.code for worker in ended],
        {path.name: path.read_text() for path in logs.glob("*.stacks.txt")},
    )


def main():
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    say(f"step deadline {STEP_TIMEOUT:.0f} s; seconds beyond it until all workers have ended")
    say(f"{'hang in':12}{'runs':>5}{'min':>8}{'median':>8}{'max':>8}{'named':>7}{'ended':>7}")
    for kind in given.kinds.split(","):
        outcomes = []
        for _ in range(given.runs):
            with tempfile.TemporaryDirectory(prefix="tfscale-hang-") as folder:
                outcomes.append(play(kind, Path(folder)))
                say(f"  {outcomes[-1].codes} {outcomes[-1].lines[0]}")
        late = [one.late_seconds for one in outcomes if one.late_seconds is not None] or [-1.0]
        named = sum(one.is_named(kind) for one in outcomes)
        ended = sum(None not in one.codes for one in outcomes)
        say(
            f"{kind:12}{len(outcomes):5}{min(late):8.1f}{statistics.median(late):8.1f}"
            f"{max(late):8.1f}{named:7}{ended:7}"
        )


if __name__ == "__main__":
    main()
