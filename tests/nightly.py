"""What the installed Keras breaks, and what it makes superfluous: python -m tests.nightly

`make test-nightly` runs this with the Keras of the day. A parity scene that fails is broken by it;
a test of an upstream defect that fails says that the defect is gone, or is another one now. The
exit code is 0 if nothing is broken.
"""

import importlib
import sys

import keras
import pytest

from tests.patches import LIST, rows

BROKEN = ("tests/jobs/test_parity.py",)


class _Outcomes:
    """Collects how tests end, for pytest."""

    def __init__(self):
        self.passed, self.failed = set(), {}

    def pytest_runtest_logreport(self, report):
        name = report.nodeid
        if report.failed:
            self.failed.setdefault(name, _last_line(report))
        elif report.when == "call" and report.passed:
            self.passed.add(name)

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed[report.nodeid] = _last_line(report)


def _last_line(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    lines = [line.strip("E ") for line in text.splitlines() if line.strip()]
    return (lines[0] if crash else lines[-1])[:300] if lines else ""


def _missing():
    """What the names of Keras that aren't public lack, "" if they are all there."""
    try:
        importlib.import_module("tfscale.fit.keras.seams")
    except ImportError as error:
        return str(error)
    return ""


def summary(outcomes, defects, missing):
    """The lines of the report, and whether something is broken.

    Args:
        outcomes: of all tests that ran.
        defects: {test: what it keeps} of the upstream defects.
        missing: what Keras lacks, in words; "" for nothing.
    """
    gone = {name: why for name, why in outcomes.failed.items() if name.partition("[")[0] in defects}
    broken = {name: why for name, why in outcomes.failed.items() if name not in gone}
    lines = [f"Names that aren't public: {missing or 'all there'}"]
    lines.append(f"Broken: {len(broken) or 'nothing'}")
    lines += [f"  {name}\n      {why}" for name, why in broken.items()]
    lines.append(f"Defects that are gone, or others now: {len(gone) or 'none'}")
    for name, why in gone.items():
        lines.append(f"  {defects[name.partition('[')[0]]}\n      {name}\n      {why}")
    lines.append(f"{len(outcomes.passed)} passed, {len(outcomes.failed)} failed")
    return lines, bool(broken or missing)


def defects():
    """The tests of upstream defects, each with what stands as long as it passes."""
    found = {}
    for row in rows(LIST.read_text()):
        for test in row.tests:
            found.setdefault(test, []).append(f"{', '.join(sorted(row.names))} ({row.file})")
    return {test: "; ".join(kept) for test, kept in found.items()}


def main():
    """Runs the tests and prints the report."""
    outcomes, known, missing = _Outcomes(), defects(), _missing()
    # Deprecations are for a new version of ours, not for this question.
    pytest.main(["-q", "-W", "default", "--tb=no", "--no-header", *BROKEN, *known], [outcomes])
    lines, is_broken = summary(outcomes, known, missing)
    sys.stdout.write("\n".join(["", f"Keras {keras.__version__}", *lines, ""]))
    sys.exit(is_broken)


if __name__ == "__main__":
    main()
