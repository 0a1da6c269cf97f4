"""Ends and removes what a test session leaves behind, also when it is killed half-way.

A process of its own waits for the session's end, however that comes. It then ends what the session
has started and still runs, and removes the folder in which the session and all its processes have
their temporary files, and network namespaces of processes that are gone.

This file runs by itself: `python -m tests.sweeper FOLDER`, with a pipe as its standard input.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tfscale.errors import ConfigError
from tools.bench import links

MARK = "TFSCALE_TEST_SESSION"  # in the environment of all that a session starts
_ROOT = Path(__file__).resolve().parents[1]
_GONE_SECONDS = 10.0  # in which what was killed is gone
_POLL_SECONDS = 0.05
_sweepers = []  # Python complains about a process that nobody has any more


def begin_session():
    """Lets this process and all that it starts have temporary files in a folder that is swept.

    pytest's own folders stay where they are: what a test has left there is to be looked at.
    """
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="tfscale-tests-")
    nothing = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-m", "tests.sweeper", folder]
    # Nobody waits for it: it outlives this process.
    _sweepers.append(
        subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, start_new_session=True, **nothing
        )
    )
    os.environ[MARK] = os.environ["TMPDIR"] = tempfile.tempdir = folder


def _is_of(process, folder):
    """Whether a process of the system was started by the session of a folder."""
    with contextlib.suppress(OSError):
        return f"{MARK}={folder}\0".encode() in (process / "environ").read_bytes()
    return False


def _sweep(folder):
    deadline = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < deadline:
        left = [path for path in Path("/proc").glob("[0-9]*") if _is_of(path, folder)]
        for process in left:
            with contextlib.suppress(OSError):
                os.kill(int(process.name), signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        if not left and not os.path.exists(folder):
            break
        time.sleep(_POLL_SECONDS)
    if shutil.which("ip"):
        with contextlib.suppress(ConfigError):
            links.remove_left_over()


def main(folder):
    """Waits for the end of the session, and sweeps."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it is the last to go
    sys.stdin.read()
    _sweep(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
