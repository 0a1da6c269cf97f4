"""A program `ssh` that runs its command here, and a repository whose workers are small programs."""

import os
import sys

import pytest

from tests.supervise.sources import ALARM, ROOT
from tools.ssh.connection import Client

# What it gets is for a shell, as there. `REFUSES` has the lines that it says in place of that.
_SSH = """#!/bin/sh
for word; do :; done
if [ -s {folder}/refuses ]; then cat {folder}/refuses >&2; exit 255; fi
echo "$*" >> {folder}/words
cd {folder}
exec sh -c "$word"
"""
CLIENT = Client()


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    """The folder of the program, which is the first one in the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(_SSH.format(folder=folder))
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder


def repository(folder, source):
    """A working tree whose worker is a source, which finds its index in `index`."""
    (folder / "launch").mkdir(parents=True)
    (folder / "tfscale").symlink_to(ROOT / "tfscale")
    index = "index = [word[8:] for word in sys.argv if word.startswith('--index=')][0]\n"
    (folder / "launch" / "worker.py").write_text(ALARM + index + source)
    return {"folder": str(folder), "python": sys.executable}
