"""How often a healthy pair is found to be ill, and how long that takes.

    .venv/bin/python -m tests.tools.doctor.measure_healthy --runs=20

Two doctors on this machine's loopback, one run after the other; nothing should be found.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time

from tests.jobs.workers import free_addresses, start_all

_DEADLINE_SECONDS = 100


def _run(run_dir):
    """Seconds of a run, and what each finding was."""
    hosts = ",".join(free_addresses(2))
    program = [sys.executable, "launch/doctor.py", "--cluster=none", "--json", f"--hosts={hosts}"]
    commands = [[*program, f"--run_dir={run_dir}", f"--index={rank}"] for rank in (0, 1)]
    began = time.monotonic()
    ended = start_all(commands, deadline_seconds=_DEADLINE_SECONDS)
    seconds = time.monotonic() - began
    if [one.code for one in ended] != [0, 0]:
        return seconds, [f"exit codes {[one.code for one in ended]}: {ended[0].err}"]
    return seconds, [one["came"] for one in json.loads(ended[0].out)["findings"]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    took, ill = [], 0
    with tempfile.TemporaryDirectory() as run_dir:
        for number in range(runs):
            seconds, found = _run(run_dir)
            took.append(seconds)
            ill += bool(found)
            print(f"{number + 1} of {runs}: {seconds:.1f} s, {found or 'healthy'}", flush=True)
    print(
        f"{ill} of {runs} runs found something; {statistics.median(took):.1f} s each "
        f"({min(took):.1f} to {max(took):.1f})"
    )


if __name__ == "__main__":
    main()
