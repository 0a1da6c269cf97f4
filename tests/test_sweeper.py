import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.jobs.workers import ROOT
from tests.sweeper import MARK

DEADLINE_SECONDS = 60
# A session with a process of its own session, a folder, and a namespace if there can be one.
SESSION = """
import contextlib, os, subprocess, sys, tempfile, time
from tests.sweeper import begin_session
from tools.bench import links
from tfscale.errors import ConfigError
begin_session()
tempfile.mkdtemp()
has_link = False
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                        start_new_session=True)
with contextlib.ExitStack() as stack:
    with contextlib.suppress(ConfigError):
        has_link = bool(stack.enter_context(links.shaped(1, 1000)))
    print(tempfile.gettempdir(), left.pid, has_link, flush=True)
    time.sleep(float(sys.argv[1]))
"""


def _namespaces():
    if not shutil.which("ip"):
        return ""
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout


def _is_running(process):
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # nobody may reap it here
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("is_killed", [True, False])
def test_nothing_is_left_of_a_session_however_it_ends(tmp_path, is_killed):
    command = [sys.executable, "-c", SESSION, "600" if is_killed else "0"]
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True
    ) as session:
        folder, left, has_link = session.stdout.readline().split()
        assert os.path.dirname(folder) == str(tmp_path)
        name = f"tfscale-{session.pid}-"
        if is_killed:
            assert os.listdir(folder)
            assert (name in _namespaces()) == (has_link == "True")
            session.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while os.listdir(tmp_path) or _is_running(int(left)) or name in _namespaces():
        assert time.monotonic() < deadline, (os.listdir(tmp_path), left, _namespaces())
        time.sleep(0.05)


def test_this_session_has_its_temporary_files_in_a_folder_that_is_swept():
    assert os.environ[MARK] == os.environ["TMPDIR"]
    assert os.path.basename(os.environ[MARK]).startswith("tfscale-tests-")
