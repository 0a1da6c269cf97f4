"""Which tests share a process when several run tests at once: `pytest -n 2 --dist=loadgroup`."""

import os
from pathlib import Path

import pytest

JOBS = Path(__file__).parent / "jobs"
# What takes longest begins first, so that at the end all processes are done at about the same time.
FIRST = ("gallery", "scenes")
# Tests that start their own workers, and share nothing with the others of their file.
SINGLE = ("test_bad_input",)


def group_of(path, marks):
    """What a test shares its process with: the tests of its file, or all that play scenes.

    Args:
        path: of the test's file.
        marks: names of the test's marks.
    """
    if "plays" in marks:
        return "scenes"
    return path.stem.removeprefix("test_") if path.parent == JOBS else str(path)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist then reads the groups
def pytest_collection_modifyitems(items):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    groups = {}
    for item in items:
        group = group_of(item.path, {mark.name for mark in item.iter_markers()})
        is_job = item.path.parent == JOBS
        rank = FIRST.index(group) if group in FIRST else len(FIRST) + (not is_job)
        groups.setdefault((rank, group), []).append(item)
    items[:] = []
    for rank, group in sorted(groups, key=lambda each: each[0]):
        for item in groups[rank, group]:
            if item.path.stem not in SINGLE:
                item.add_marker(pytest.mark.xdist_group(group))
            items.append(item)
