"""How far a run has come while somebody looked, read off what is whole in its folder.

A checkpoint is a folder `RUN_DIR/checkpoints/step-0000001234`, there as a whole or not at all;
`RUN_DIR/report.json` is there when a run is done.
"""

import os
from pathlib import Path

from tfscale.files.checkpoint_names import FOLDER, step_of

_Identity = tuple[int, int]  # of a file: another one of the same name has another


class RunProgress:
    """What a run has left behind since this was made; what was there before doesn't count.

    Args:
        run_dir: the run's folder, which need not be there; None sees nothing.
    """

    def __init__(self, run_dir: Path | None) -> None:
        """Remembers what an earlier run, or an earlier part of this one, has left."""
        self._run_dir = run_dir
        self._checkpoints = self._committed()
        self._report = self._reported()

    @property
    def is_visible(self) -> bool:
        """Whether this machine sees the run's checkpoints, which the chief alone writes."""
        return self._run_dir is not None and (self._run_dir / FOLDER).is_dir()

    @property
    def step(self) -> int | None:
        """The highest step that was committed since; None for none."""
        then = self._checkpoints
        new = [step for step, found in self._committed().items() if then.get(step) != found]
        return max(new, default=None)

    @property
    def is_done(self) -> bool:
        """Whether the run's report was written since."""
        return self._reported() not in (None, self._report)

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
        if self._run_dir is None:
            return None
        try:
            status = (self._run_dir / "report.json").stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
