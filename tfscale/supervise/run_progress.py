"""How far a run has come while somebody looked, read off what is whole in its folder.

A checkpoint is a folder `RUN_DIR/checkpoints/step-0000001234`, there as a whole or not at all;
`RUN_DIR/report.json` is there when a run is done. On a node whose disk isn't the chief's a worker
leaves the step of the last checkpoint in `RUN_DIR/logs/worker-N.step`.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

from tfscale.files.checkpoint_names import FOLDER, mark_of, step_of

_Identity = tuple[int, int]  # of a file: another one of the same name has another


class Before(NamedTuple):
    """What was in a run's folder when somebody began to look.

    Args:
        checkpoints: by their steps.
        report: None for none.
    """

    checkpoints: dict[int, _Identity]
    report: _Identity | None

    def as_text(self) -> str:
        """For a process that looks on in the place of this one."""
        return json.dumps(self._asdict())

    @classmethod
    def of_text(cls, text: str) -> "Before":
        """From there.

        Raises:
            ValueError: it is none.
        """
        try:
            found = json.loads(text)
            of = {int(step): (one[0], one[1]) for step, one in found["checkpoints"].items()}
            report = found["report"]
            return cls(of, report and (report[0], report[1]))
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"{text!r} says nothing of a folder") from error


class RunProgress:
    """What a run has left behind since this was made; what was there before doesn't count.

    Args:
        run_dir: the run's folder, which need not be there; None sees nothing.
        worker: whose step is looked at where there are no checkpoints.
        before: what was there when somebody else began to look.
    """

    def __init__(self, run_dir: Path | None, worker: int, before: Before | None = None) -> None:
        """Remembers what an earlier run, or an earlier part of this one, has left."""
        self._run_dir = run_dir
        self._mark = run_dir and run_dir / mark_of(worker)
        self._marked = _identity_of(self._mark)
        self.before = before or Before(self._committed(), self._reported())

    @property
    def is_visible(self) -> bool:
        """Whether this machine sees how far the run's checkpoints are, or has seen it once."""
        return self._run_dir is not None and (
            (self._run_dir / FOLDER).is_dir() or _identity_of(self._mark) is not None
        )

    @property
    def step(self) -> int | None:
        """The highest step that was committed since; None for none."""
        then = self.before.checkpoints
        new = [step for step, found in self._committed().items() if then.get(step) != found]
        return max([*new, *self._marked_step()], default=None)

    @property
    def is_done(self) -> bool:
        """Whether the run's report was written since."""
        return self._reported() not in (None, self.before.report)

    def _marked_step(self) -> list[int]:
        if self._mark is None or _identity_of(self._mark) in (None, self._marked):
            return []
        try:
            return [int(self._mark.read_text(encoding="ascii"))]
        except (OSError, ValueError):
            return []

    def _committed(self) -> dict[int, _Identity]:
        if self._run_dir is None:
            return {}
        found = {}
        try:
            with os.scandir(self._run_dir / FOLDER) as entries:
                for entry in entries:
                    if (step := step_of(entry.name)) >= 0:
                        status = entry.stat()
                        found[step] = (status.st_ino, status.st_mtime_ns)
        except OSError:
            return found  # the chief removes old ones meanwhile
        return found

    def _reported(self) -> _Identity | None:
        return _identity_of(self._run_dir and self._run_dir / "report.json")


def _identity_of(path: Path | None) -> _Identity | None:
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return status and (status.st_ino, status.st_mtime_ns)
