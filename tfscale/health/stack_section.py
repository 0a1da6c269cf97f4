"""Where a worker's main thread is, read off its Python stack from another thread.

Nothing has to be told by whoever is watched, which costs nothing and leaves nobody out: the loops
on the device, the hooks of callbacks, waiting for other workers, and all else.
"""

import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tfscale.health.deadlines import BETWEEN, DATA, END, EVALUATION, SAVING, START, STEP

# Functions that stand for a section, as (module, function); a test looks whether they are there.
LOOPS = {
    ("tfscale.fit.training_loop", "take"): STEP,
    ("tfscale.fit.evaluate.evaluation", "test_call"): EVALUATION,
    ("tfscale.fit.evaluate.prediction", "call"): EVALUATION,
}
PARTS = {
    ("tfscale.data.splits", "read_splits"): DATA,
    ("tfscale.training", "train"): BETWEEN,
    ("tfscale.ending", "evaluate"): EVALUATION,
    ("tfscale.ending", "finish"): SAVING,
}
FIT = ("tfscale.training", "train")
BOARD = "tfscale.startup.messages"
HOOKS = "keras.src.callbacks.callback_list"
ALONE = ("tfscale.fit.callbacks.chief_callbacks", "run_members")
ON_DEVICE = "tensorflow.python.eager."
PYTHON_IN_GRAPH = "tensorflow.python.ops.script_ops"
_SAVING = "tfscale.checkpoints."
_DOING = {
    DATA: "reading its data",
    START: "starting",
    STEP: "preparing a step",
    BETWEEN: "between two steps",
    EVALUATION: "evaluating",
    SAVING: "saving",
    END: "ending",
}
_DEBUGGERS = ("bdb", "pdb", "pydevd")
_LIBRARIES = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")})
_AUTOGRAPH = "__autograph_generated"
_OURS = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True)
class Frame:
    """A line of a stack.

    Args:
        module: its name.
        function: with its class's name, as Python's `co_qualname` says it.
        file: path.
        line: number.
    """

    module: str
    function: str
    file: str = ""
    line: int = 0

    @property
    def name(self) -> tuple[str, str]:
        """Of module and function, without the class."""
        return self.module, self.function.rpartition(".")[2]

    @property
    def is_users(self) -> bool:
        """Whether it is neither ours nor a library's."""
        is_ours = self.file.startswith((*_LIBRARIES, _OURS, "<")) or _AUTOGRAPH in self.file
        return bool(self.file) and not is_ours

    @property
    def traced_from(self) -> str:
        """The name of the user's function that AutoGraph made this of, or ""."""
        parts = self.function.split(".")
        return next((part[len("tf__") :] for part in parts if part.startswith("tf__")), "")

    @property
    def words(self) -> str:
        """`load, digits.py:12`."""
        return f"{self.function.rpartition('.')[2]}, {Path(self.file).name}:{self.line}"


@dataclass(frozen=True)
class Place:
    """What a main thread does.

    Args:
        section: of `deadlines`, or the name of a callback's hook.
        what: it does, in words that follow "has been".
        waits: whether other workers have to come: a collective, or a word of another one.
        is_on_device: whether it is in an on-device loop.
        is_in_fit: whether it is within `fit`.
        is_debugged: whether somebody sits in a debugger.
    """

    section: str
    what: str
    waits: bool = False
    is_on_device: bool = False
    is_in_fit: bool = False
    is_debugged: bool = False


def stack_of(thread: int) -> tuple[list[Frame], bool]:
    """The stack of a thread, innermost first, and whether a debugger traces it.

    Args:
        thread: as `threading.get_ident` says.
    """
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - its documented name
    return _frames(frame)


def stack_of_error(error: BaseException) -> list[Frame]:
    """Where an error came from, innermost first."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        found.append(_frame(traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return found[::-1]


def in_graph() -> str:
    """What Python a graph runs at this moment, in the user's words; "" for none."""
    for frame in sys._current_frames().values():  # noqa: SLF001 - its documented name
        frames, _ = _frames(frame)
        if any(one.module == PYTHON_IN_GRAPH for one in frames):
            written = [one.words for one in frames if one.is_users]
            traced = [one.traced_from for one in frames if one.traced_from]
            return next(iter([*written, *traced]), "a py_function")
    return ""


def place_of(frames: Sequence[Frame], *, is_started: bool, is_debugged: bool = False) -> Place:
    """What a stack means.

    Args:
        frames: innermost first.
        is_started: whether the first steps are over.
        is_debugged: whether a debugger traces it.
    """
    names = [frame.name for frame in frames]
    is_in_fit = FIT in names
    waits = any(module == BOARD for module, _ in names[:12])
    hook = next((k for k, frame in enumerate(frames) if frame.module == HOOKS), len(frames))
    loop = next((k for k, name in enumerate(names) if name in LOOPS), len(frames))
    users = next((frame.words for frame in frames if frame.is_users), "")
    is_on_device = False
    if loop < hook:
        section = LOOPS[names[loop]]
        is_on_device = bool(frames) and frames[0].module.startswith(ON_DEVICE)
        waits |= is_on_device and ALONE not in names
        what = "in a loop on its device" if is_on_device else _doing(section, users)
    elif hook < len(frames):
        section = names[hook][1]
        what = f"in {_called(frames[:hook], section)}"
    else:
        section = _part(names, is_started=is_started)
        if any(module.startswith(_SAVING) for module, _ in names) and is_started:
            section = SAVING
        what = _doing(section, users)
        # Ours in TensorFlow outside of any loop is most often a collective.
        waits |= bool(frames) and frames[0].module.startswith(ON_DEVICE)
    if not is_started and section not in (DATA, STEP):
        section = START
    return Place(section, what, waits, is_on_device, is_in_fit, is_debugged)


def _part(names: Sequence[tuple[str, str]], *, is_started: bool) -> str:
    found = next((PARTS[name] for name in names if name in PARTS), "")
    return found or (END if is_started else START)


def _doing(section: str, users: str) -> str:
    return _DOING.get(section, section) + (f" ({users})" if users else "")


def _called(frames: Sequence[Frame], hook: str) -> str:
    """`on_epoch_end of Losses (model.py:31)`, of what a list of callbacks has called."""
    own = next((one for one in frames if one.name[1].startswith("on_")), None)
    users = next((one for one in frames if one.is_users), None)
    if own is not None:
        kind, _, hook = own.function.rpartition(".")
        hook += f" of {kind.rpartition('.')[2]}" if kind else ""
    where = f" ({Path(users.file).name}:{users.line})" if users else ""
    return hook + where


def _frames(frame: FrameType | None) -> tuple[list[Frame], bool]:
    found, is_debugged = [], False
    while frame is not None:
        found.append(_frame(frame, frame.f_lineno))
        is_debugged |= frame.f_trace is not None
        is_debugged |= found[-1].module.partition(".")[0] in _DEBUGGERS
        frame = frame.f_back
    return found, is_debugged


def _frame(frame: FrameType, line: int) -> Frame:
    code = frame.f_code
    module = str(frame.f_globals.get("__name__", ""))
    return Frame(module, code.co_qualname, code.co_filename, line)
