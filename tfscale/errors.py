"""Why a run ended: in one line for people, and as a record for whoever decides what comes next."""

import enum
import json
import re
from typing import NamedTuple

CONFIG_CODE = 2  # the same command can't work: something has to be changed first
FAILURE_CODE = 1  # anything else, which may not happen again
START_TIMEOUT_CODE = 75  # EX_TEMPFAIL: a worker didn't come; it may a minute later
HANGUP_CODE = 129  # what a shell says of a program that the end of its terminal ended
INTERRUPTED_CODE = 130  # likewise of Ctrl-C
PREEMPTED_CODE = 143  # stopped from outside; the same command resumes where it was
# Somebody meant the end, or the same command can only end the same way.
_FINAL_CODES = frozenset({0, CONFIG_CODE, HANGUP_CODE, INTERRUPTED_CODE, PREEMPTED_CODE})
_LONGEST = 400
_LONGEST_REFUSAL = 3000  # what came may be as long as somebody likes; paths and commands fit
_DISK_FULL = "No space left on device"  # what strerror and TensorFlow say
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Lines of TensorFlow's page about an error in a graph that don't say what it was.
_OF_A_PAGE = re.compile(
    r"\s*$|Graph execution error|Detected at node|\s*File \".*\", line \d+|Stack trace for op"
    r"|\d+ root error"
)
_STEP = "tfscale_step"  # an attribute of an error


class Kind(enum.StrEnum):
    """Why a process ended, as far as somebody decides by it."""

    CONFIGURATION = "configuration"
    START_TIMEOUT = "start timeout"
    PREEMPTED = "preempted"
    INTERRUPTED = "interrupted"
    NOT_FINITE = "not finite"
    CORRUPTION = "corruption"
    STANDSTILL = "standstill"
    FAILURE = "failure"


_KINDS = {
    CONFIG_CODE: Kind.CONFIGURATION,
    START_TIMEOUT_CODE: Kind.START_TIMEOUT,
    PREEMPTED_CODE: Kind.PREEMPTED,
    HANGUP_CODE: Kind.INTERRUPTED,
    INTERRUPTED_CODE: Kind.INTERRUPTED,
}


class End(NamedTuple):
    """How a process ended, as one process tells another: nothing is read out of the reason.

    Args:
        reason: for people.
        code: exit code.
        kind: what it was.
        step: of training, at which it happened; None where it belongs to none.
    """

    reason: str
    code: int
    kind: Kind
    step: int | None = None

    @classmethod
    def of(cls, code: int, reason: str = "") -> "End":
        """An end of which no more is known than its exit code, and maybe the reason."""
        return cls(reason, code, _KINDS.get(code, Kind.FAILURE))

    def as_text(self) -> str:
        """For a file, or another worker."""
        return json.dumps(self._asdict())

    @classmethod
    def of_text(cls, text: str) -> "End":
        """From there.

        Raises:
            ValueError: it is none.
        """
        try:
            end = cls(**json.loads(text))
            return end._replace(kind=Kind(end.kind))
        except TypeError as error:
            raise ValueError(str(error)) from error


class ConfigError(ValueError):
    """A run that cannot be done as asked: one line with what came, what was expected, what to do.

    Trying again without a change cannot help, which tells it from every other failure.
    """


class Disagreement(ConfigError):
    """Workers differ in what they must have the same.

    Its text may have more lines than one: a table of who has what can't be read in one.
    """


class SharedFailure(Exception):
    """A run ended on every worker for one reason.

    Args:
        reason: one line.
        code: exit code.
        kind: as of `End`; what the exit code says if None.
        step: as of `End`.
    """

    def __init__(
        self, reason: str, code: int, kind: Kind | None = None, step: int | None = None
    ) -> None:
        """Keeps all of it for the program that ends."""
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.end = End(reason, code, kind or End.of(code).kind, step)


class WorkerError(RuntimeError):
    """One of several processes ended or didn't answer, as who waited for it has seen it.

    Args:
        what: which one, and what it did.
        log: the end of what it said; its last line is most often the cause.
    """

    def __init__(self, what: str, log: str = "") -> None:
        """Keeps a line for the terminal, and all of it for the log."""
        super().__init__(f"{what}. The end of its log:\n{log}" if log else what)
        last = log.rstrip().rpartition("\n")[2].strip()
        self.reason = f"{what}: {last}" if last else what


def is_retryable(code: int) -> bool:
    """Whether the same command may do better than to end with this exit code, a shell's."""
    return code not in _FINAL_CODES


def shell_code(code: int) -> int:
    """What a shell would show, 128 + signal, for an exit code in which signals are negative."""
    return 128 - code if code < 0 else code


def describe_failure(error: BaseException) -> tuple[str, int]:
    """The reason, in one line but for a table of differences, and the exit code of an error."""
    if isinstance(error, SharedFailure):
        return error.reason, error.code
    if isinstance(error, WorkerError):
        return _shortened(error.reason), FAILURE_CODE
    if isinstance(error, Disagreement):
        return str(error), CONFIG_CODE
    if isinstance(error, ConfigError):
        return _without_middle(" ".join(str(error).split())), CONFIG_CODE
    if _DISK_FULL in str(error):
        # In front, because what TensorFlow says is longer than a line.
        came = f"{_DISK_FULL}. Make room, or use another --run_dir ({one_line(error)}"
        return _shortened(came) + ")", FAILURE_CODE
    return one_line(error), FAILURE_CODE


def at_step(error: Exception, step: int) -> Exception:
    """The same error, with the training step at which it was raised."""
    error.__dict__[_STEP] = step  # whatever class it is of, users catch it by that
    return error


def end_of(error: BaseException) -> End:
    """How a process ends that an error ends."""
    if isinstance(error, SharedFailure):
        return error.end
    reason, code = describe_failure(error)
    # One that is explained by another one is its cause.
    step = getattr(error, _STEP, getattr(error.__cause__, _STEP, None))
    return End.of(code, reason)._replace(step=step)


def one_line(error: BaseException) -> str:
    """Type and message of an error in one line.

    TensorFlow wraps an error of the user's code in a page of its own; the cause stands at its end.
    What a kernel says stands behind the lines of code that led to its operation.
    """
    said = _COLOURS.sub("", str(error))
    text = " ".join(said.split())
    # What an Assert says in a graph, outside of one, and what our own code has raised in a graph.
    if found := re.search(r"assertion failed: \[(.*?)\](?: \[\[|$)", text):
        return _shortened(found[1].replace("] [", " "))
    if found := re.search(r"to be true\. Summarized data: (.*)$", text):
        return _shortened(re.sub(r"\bb(['\"])(.*?)\1(?= |$)", r"\2", found[1]))
    if found := re.search(r"\bConfigError: (.*?)(?: Traceback \(most recent| \[\[|$)", text):
        return _shortened(found[1])
    cause = text
    if text.startswith("in user code"):
        # What was raised stands behind the lines of code that led to it, one by one.
        cause = " ".join(said.rstrip().rpartition("\n\n")[2].split())
    elif "Detected at node" in text:
        cause = _of_kernel(said)
    name = type(error).__name__
    text = cause if cause.startswith(name) else f"{name}: {cause}" if cause else name
    return _shortened(text)


def _of_kernel(said: str) -> str:
    """What a kernel says, and the name of its operation, of a page about a graph."""
    text = " ".join(line.strip() for line in said.splitlines() if not _OF_A_PAGE.match(line))
    several = re.search(r"\(0\) [A-Z_]+: *(.*)", text)
    cause = (several[1] if several else text).partition("[[")[0].strip()
    cause = re.sub(r"((?:-?\d+ ){8})(?:-?\d+ ?)+", r"\1...", cause)  # all labels of a batch
    node = re.search(r"\{\{node (?:while/)?([^}]+)\}\}", said)
    return f"{cause} (in {node[1]})" if node else cause


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _without_middle(text: str) -> str:
    half = _LONGEST_REFUSAL // 2
    return text if len(text) <= _LONGEST_REFUSAL else f"{text[:half]} ... {text[-half:]}"
