"""Work that is spread over processes of this machine, which all end with the one that started them.

They are started anew and not forked: TensorFlow's threads don't come along with a fork.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

from tfscale.errors import CONFIG_CODE, ConfigError, SharedFailure, WorkerError, describe_failure

Assignment = TypeVar("Assignment")
Tell = Callable[[int], None]


def spread(
    work: Callable[[Assignment, Tell], None], shares: Sequence[Assignment], tell: Tell
) -> None:
    """Does the work on every share at the same time, each in a process of its own.

    If one fails, or whoever called this does, all are ended at once, and so they are if this
    process is killed.

    Args:
        work: a function of a module; gets its share, and what it tells its progress by. Both have
            to be what pickle can send.
        shares: one for each process.
        tell: gets every number that `work` tells, whichever process does.

    Raises:
        ConfigError: `work` raised one.
        SharedFailure: `work` raised something else.
        WorkerError: a process ended without saying why.
    """
    context = multiprocessing.get_context("spawn")
    started: list[tuple[BaseProcess, Connection]] = []
    try:
        for share in shares:
            here, there = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(
                target=_child, args=(work, share, there), daemon=True
            )
            process.start()
            started.append((process, here))
            there.close()
        _wait(started, tell)
    finally:
        for process, here in started:
            process.kill()
            process.join()
            process.close()
            here.close()


def _wait(started: Sequence[tuple[BaseProcess, Connection]], tell: Tell) -> None:
    """Until all have said that they are done; the first that fails, fails all."""
    working = list(started)
    while working:
        ready = connection.wait([here for _, here in working])
        for process, here in [each for each in working if each[1] in ready]:
            try:
                what, value = here.recv()
            except EOFError:
                process.join()
                raise WorkerError(
                    f"a process that worked for this one ended with code {process.exitcode}"
                ) from None
            if what == "told":
                tell(value)
            elif what == "done":
                working.remove((process, here))
            else:
                reason, code = value
                raise ConfigError(reason) if code == CONFIG_CODE else SharedFailure(reason, code)


def _child(work: Callable[[Assignment, Tell], None], share: Assignment, there: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(share, lambda number: there.send(("told", number)))
        there.send(("done", None))
    except BaseException as error:
        there.send(("failed", describe_failure(error)))
    finally:
        os._exit(0)  # what TensorFlow's threads still do, nobody needs


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)
