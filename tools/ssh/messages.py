"""What a courier and its member tell each other, in lines.

The courier writes to the member's input: an order, then words. The member answers on its standard
error, where the worker's lines are too: each of its records has a mark in front that nobody else
knows. A worker's lines travel as they are.
"""

import json
from dataclasses import asdict, dataclass, field

from tfscale.structures import Json

GO, STOP, BEAT = "go", "stop", "beat"  # words of a courier
BEAT_SECONDS = 5.0
LOST_SECONDS = 30.0  # of silence, after which a member has no courier any more


@dataclass(frozen=True)
class Order:
    """What a member starts.

    Args:
        command: of the worker, behind the name of Python.
        environ: what its environment has beside the node's.
        run_dir: the folder whose progress is told, as the worker's flag gives it; "" for none.
        before: what was there before the first attempt, as a text; "" if that is to be told now.
        mark: that stands in front of each record.
    """

    command: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)
    run_dir: str = ""
    before: str = ""
    mark: str = ""

    def as_text(self) -> str:
        """In one line."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> "Order":
        """From there.

        Raises:
            ValueError: it is none.
        """
        try:
            found = json.loads(text)
            return cls(**{**found, "command": tuple(found["command"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"{text!r} is no order") from error


@dataclass(frozen=True)
class Record:
    """What a member tells; each has one of these, but for an end, which has two.

    Args:
        before: it is there and waits for a go, and this was in the run's folder before.
        step: the highest that the run has committed since.
        is_done: whether its report is written.
        code: how the worker ended, negative for a signal.
        end: what it has said of its end; "" for nothing.
    """

    before: str | None = None
    step: int | None = None
    is_done: bool = False
    code: int | None = None
    end: str = ""

    def as_line(self, mark: str) -> str:
        """With its end of line."""
        told: dict[str, Json] = {name: one for name, one in asdict(self).items() if one is not None}
        return f"{mark} {json.dumps(told)}\n"

    @classmethod
    def of_line(cls, line: str) -> "Record":
        """From what stands behind the mark.

        Raises:
            ValueError: it is none.
        """
        try:
            return cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(str(error)) from error
