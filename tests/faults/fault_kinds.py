"""What each kind of injected fault does to the process in which it happens."""

import contextlib
import ctypes
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import tensorflow as tf

_SAVING_THREAD = "checkpoint"  # its name, see checkpoints/background.py
_CALLS_OF_A_SAVE = 1000  # about, of a small model's
_FULL_BYTES = 4096  # that a file may have where the disk is "full"
_SLOW_STEPS = 60  # for which a slow worker is slow
_MUTEX_BYTES = 128  # more than any system's mutex has
_drawn = random.SystemRandom()  # not the generator that the training may draw from


@dataclass(frozen=True)
class Scene:
    """Where a fault happens.

    Args:
        what: it is and at which step, in a few words.
        folder: where is noted what has happened.
        step_seconds: that a step takes.
        happens: notes that the fault comes now; called right before.
        weight: one of the model's, as each replica of this worker has it.
    """

    what: str
    folder: Path
    step_seconds: float
    happens: Callable[[], None]
    weight: Sequence[tf.Variable]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        act: lets it happen; may not come back.
        is_delayed: whether it comes from another thread, while the next step is on its way.
        is_repeated: whether it comes again each time that its step is reached: a bug.
        is_of_chief: whether only worker 0 can have it.
        slow_steps: in which the worker then takes three times as long.
    """

    act: Callable[[Scene], None]
    is_delayed: bool = False
    is_repeated: bool = False
    is_of_chief: bool = False
    slow_steps: int = 0


def _noted(scene: Scene) -> None:
    scene.happens()


def _exception(scene: Scene) -> NoReturn:
    scene.happens()
    raise RuntimeError(scene.what)


def _exception_in_thread(scene: Scene) -> None:
    """Python prints it, and nothing else comes of it: a thread of a user's is the user's."""

    def dies() -> NoReturn:
        raise RuntimeError(scene.what)

    scene.happens()
    threading.Thread(target=dies, name="injected", daemon=True).start()


def _exception_in_handler(scene: Scene) -> None:
    """Raised wherever the main thread is then."""

    def handler(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise RuntimeError(scene.what)

    scene.happens()
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-4 + scene.step_seconds * _drawn.random())


def _signal(number: signal.Signals) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        scene.happens()
        os.kill(os.getpid(), number)

    return act


def _abort(scene: Scene) -> NoReturn:
    scene.happens()
    os.abort()


def _segfault(scene: Scene) -> None:
    scene.happens()
    ctypes.string_at(0)


def _lock_held(scene: Scene) -> None:
    """Waits for ever for what it has itself, without letting another thread run Python."""
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(_MUTEX_BYTES)
    scene.happens()
    while True:
        library.pthread_mutex_lock(mutex)


def _hang(scene: Scene) -> None:
    scene.happens()
    threading.Event().wait()


def _hang_in_input(scene: Scene) -> None:
    """Leaves a file for a dataset file that looks for it: nothing else is where examples are made.

    tests/faults/dataset.py does.
    """
    scene.happens()
    (scene.folder / "hang_in_input").touch()


def _full_disk(scene: Scene) -> None:
    """No file can grow any more; the disk of the process that comes after this one has room."""
    scene.happens()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (_FULL_BYTES, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    )


def _cut_link(scene: Scene) -> None:
    """Every connection of this process to another one ends."""
    scene.happens()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as link:
            if link.family in (socket.AF_INET, socket.AF_INET6) and link.getpeername():
                link.shutdown(socket.SHUT_RDWR)


def _nan(scene: Scene) -> None:
    """One number of a weight, on all replicas of this worker."""
    scene.happens()
    for component in scene.weight:
        numbers = component.numpy()
        numbers.flat[0] = float("nan")
        component.assign(numbers)


def _kill_in_save(scene: Scene) -> None:
    """Kills the process at a random call of the thread that writes a checkpoint."""
    calls = _drawn.randint(1, _CALLS_OF_A_SAVE)

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        del frame, argument
        if threading.current_thread().name != _SAVING_THREAD:
            sys.setprofile(None)
        elif event in ("call", "c_call"):
            calls -= 1
            if calls == 0:
                sys.setprofile(None)
                scene.happens()
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(count)


KINDS = {
    "exception": Kind(_exception),
    "exception_in_thread": Kind(_exception_in_thread),
    "exception_in_handler": Kind(_exception_in_handler),
    "abort": Kind(_abort, is_delayed=True),
    "segfault": Kind(_segfault, is_delayed=True),
    "lock_held": Kind(_lock_held),
    "sigint": Kind(_signal(signal.SIGINT), is_delayed=True),
    "sigkill": Kind(_signal(signal.SIGKILL), is_delayed=True),
    "sigterm": Kind(_signal(signal.SIGTERM), is_delayed=True),
    "sigstop": Kind(_signal(signal.SIGSTOP), is_delayed=True),
    "full_disk": Kind(_full_disk, is_of_chief=True),
    "cut_link": Kind(_cut_link, is_delayed=True),
    "nan": Kind(_nan),
    "kill_in_save": Kind(_kill_in_save, is_of_chief=True),
    "hang": Kind(_hang),
    "hang_in_input": Kind(_hang_in_input),
    "slow": Kind(_noted, slow_steps=_SLOW_STEPS),
    "bug": Kind(_exception, is_repeated=True),
}


def let_happen(kind: Kind, scene: Scene) -> None:
    """Does what the kind is, now or while the next step is on its way."""
    if not kind.is_delayed:
        kind.act(scene)
        return

    def later() -> None:
        time.sleep(scene.step_seconds * _drawn.random())
        kind.act(scene)

    threading.Thread(target=later, name="injected", daemon=True).start()
