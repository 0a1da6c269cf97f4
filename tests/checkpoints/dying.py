"""A save that is killed, at each of the calls that it makes.

Half of a file is what is there when a process is killed while it writes.
"""

import os
from pathlib import Path

from tfscale.checkpoints import commit

FUNCTIONS = ("sync", "save_file", "sha256_of")
METHODS = ("mkdir", "rename", "write_text")
_CODE = 9


def dies_at(place, save):
    """Saves in a process that dies at a call, counted from 1; gives whether it came to that."""
    pid = os.fork()
    if not pid:
        _arrange(place)
        save()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == _CODE


def _arrange(place):
    calls = []

    def counted(name, original):
        def call(*args, **kwargs):
            calls.append(name)
            if len(calls) == place:
                if name in ("save_file", "write_text"):
                    original(*args, **kwargs)
                    path = args[1] if name == "save_file" else args[0]
                    os.truncate(path, path.stat().st_size // 2)
                os._exit(_CODE)
            return original(*args, **kwargs)

        return call

    for name in FUNCTIONS:
        setattr(commit, name, counted(name, getattr(commit, name)))
    for name in METHODS:
        setattr(Path, name, counted(name, getattr(Path, name)))
