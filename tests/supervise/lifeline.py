"""A pytest fixture that tells when the last of several processes has ended."""

import os
import select

import pytest

from tests.supervise.sources import DEADLINE_SECONDS


@pytest.fixture
def lifeline(tmp_path):
    """A FIFO that ends when the last process holding it has ended: (what to run, wait for it)."""
    path = tmp_path / "lifeline"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wait():
        held = b""
        while select.select([reading], [], [], DEADLINE_SECONDS)[0]:
            read = os.read(reading, 100)
            if not read:
                return held
            held += read
        raise TimeoutError("a process still lives")

    yield f"line = os.open({str(path)!r}, os.O_WRONLY); os.write(line, b'x')\n", wait
    os.close(reading)
