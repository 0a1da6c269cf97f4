"""Processes that find TensorFlow and Keras imported, which is 3 of the 3.5 s that a refusal takes.

An interpreter imports the two and nothing else, once, and waits. What it is asked for it forks, so
that each program has a process, a session, an environment and streams of its own, as if it had been
started anew. TensorFlow makes no thread before its first tensor, so that there is none which a fork
could lose; it is looked after, see `_import`.

What a warm process can't show is what happens before the import: other tests start cold ones.

This file runs by itself as well, outside of the repository: `python warm.py`, with a socket as its
standard input. It ends when the other side is closed, and everything that it started with it.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType

IS_POSSIBLE = sys.platform == "linux"  # elsewhere libraries have threads before anybody asks
_POLL_SECONDS = 0.01
_IMPORT_SECONDS = 120  # on a busy machine
_LONGEST = 2**17  # bytes of a message


class Starter:
    """One interpreter that has imported what is needed, as the tests see it.

    Args:
        environ: in which it imports.
    """

    def __init__(self, environ):
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket, self._codes = ours, {}
        with its, tempfile.TemporaryFile("w+") as said:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                # A thread of OpenBLAS's own would not live on in a fork.
                env={**environ, "OPENBLAS_NUM_THREADS": "1"},
                stdin=its,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            its.close()
            if self._message(time.monotonic() + _IMPORT_SECONDS) is None:
                self.end()
                said.seek(0)
                raise RuntimeError(f"TensorFlow could not be imported: {said.read()[-2000:]}")

    def start(self, command, *, environ, folder, out, err):
        """Starts a program that could be typed as `command`; gives its process's number."""
        order = {"command": command, "environ": dict(environ), "folder": str(folder)}
        text = json.dumps(order).encode()
        assert len(text) < _LONGEST, "the command is too long"
        socket.send_fds(self._socket, [text], [out.fileno(), err.fileno()])
        while (told := self._message(None)) and "started" not in told:
            self._codes[told["ended"]] = told["code"]
        return told["started"]

    def wait(self, pid, deadline):
        """The exit code of a process, negative for a signal; None if it had to be killed."""
        while pid not in self._codes:
            told = self._message(deadline)
            if told is None:
                self._socket.send(json.dumps({"kill": pid}).encode())
                while pid not in self._codes:
                    told = self._message(None)
                    self._codes[told["ended"]] = told["code"]
                del self._codes[pid]
                return None
            self._codes[told["ended"]] = told["code"]
        return self._codes.pop(pid)

    def end(self):
        """Ends the interpreter and what it has started."""
        self._socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _message(self, deadline):
        """What it says next; None at the deadline, or if it has ended before it said anything."""
        self._socket.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0))
        try:
            text = self._socket.recv(_LONGEST)
        except (TimeoutError, BlockingIOError):
            return None
        if not text and deadline is None:
            raise RuntimeError("the interpreter that starts processes has ended")
        return json.loads(text) if text else None


# From here on: in the interpreter itself, and in its forks.


def _import():
    """TensorFlow and Keras, without a thread.

    Raises:
        RuntimeError: there is another thread, which would be missing in a fork.
    """
    gc.disable()
    import absl.app
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    # A part of TensorFlow looks for GPUs when an absl program begins, or is imported by one that
    # has: what is said of it then is in the program's log, and here it would be in its terminal.
    absl.app._init_callbacks.clear()
    gc.freeze()  # a collector that looks through them would copy their pages in each fork
    gc.enable()
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(
            f"importing TensorFlow started {threads - 1} threads: it can't be forked"
        )


def _serve(link):
    """Starts and ends processes as it is told, and tells which have ended."""
    running = set()
    _tell(link, imported=True)
    while True:
        if select.select([link], [], [], _POLL_SECONDS if running else None)[0]:
            text, descriptors, _, _ = socket.recv_fds(link, _LONGEST, 2)
            if not text:
                break
            order = json.loads(text)
            if "kill" in order:
                _kill(order["kill"] if order["kill"] in running else None)
            else:
                pid = _fork(order, descriptors, link)
                running.add(pid)
                _tell(link, started=pid)
        for pid in tuple(running):
            # What it left behind is ended before its number can be another's.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                _kill(pid)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                running.remove(pid)
                _tell(link, ended=pid, code=code)
    for pid in running:
        _kill(pid)


def _tell(link, **told):
    with contextlib.suppress(OSError):  # nobody listens any more
        link.send(json.dumps(told).encode())


def _kill(group):
    if group is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _fork(order, descriptors, link):
    """A process that runs what is ordered; its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        for descriptor in descriptors:
            os.close(descriptor)
        return pid
    try:
        link.close()
        _become(order, descriptors)
        code = _run(order["command"])
        threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _become(order, descriptors):
    """Gives this process what a new one would have been given."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, *descriptors)):
        os.dup2(descriptor, number)
    os.closerange(3, max(nothing, *descriptors) + 1)
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["folder"])
    words = order["command"]
    if words[0] == "env":
        del words[0]
        while words[0] == "-C" or "=" in words[0]:
            if words[0] == "-C":
                os.chdir(words[1])
                del words[:2]
            else:
                name, _, value = words.pop(0).partition("=")
                os.environ[name] = value


def _run(words):
    """Runs what stands behind `python` on a command line; gives its exit code."""
    assert words[0] == sys.executable, words
    way, *arguments = words[1:]
    # Beside warm.py there is nothing for a program; where it is there may be.
    first = str(Path(way).resolve().parent) if way not in ("-c", "-m") else os.getcwd()
    more = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    sys.path[:1] = [first, *more]
    sys.argv = words[1:] if way not in ("-c", "-m") else [way, *arguments[1:]]
    main = sys.modules["__main__"] = ModuleType("__main__")
    try:
        if way == "-c":
            exec(compile(arguments[0], "<string>", "exec"), main.__dict__)  # noqa: S102
        elif way == "-m":
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(way, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    _import()
    # Not number 0 itself, which is a fork's standard input.
    _serve(socket.socket(fileno=os.dup(0)))
