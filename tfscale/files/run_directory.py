"""The one folder that a run writes to, and who may write what into it.

Only the chief writes a run's files, each by a temporary name and a rename, so that a file is there
as a whole or not at all. The logs are the exception: every worker has its own.
"""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.files import atomic

# What a run leaves behind; logs are kept, because they tell what happened to an earlier run.
_LEFT_BEHIND = (
    *("report.json", "config.json", "model.keras", "tensorboard", "checkpoints"),
    # In place of model.keras, and beside it, for models that plain Keras can't save or load.
    *("model.weights.h5", "model.weights.npz", "load_model.py"),
)
_SPARE_BYTES = 16 * 2**20


class RunDirectory:
    """A run's folder as one worker may use it.

    Args:
        path: the folder; it is made by `claim`.
        cluster: the chief writes, the others don't.
    """

    def __init__(self, path: str, cluster: Cluster) -> None:
        """Touches nothing yet."""
        self.path = Path(path)
        self.is_chief = cluster.is_chief
        self.log = self.path / "logs" / f"worker-{cluster.index}.log"

    @property
    def has_finished_run(self) -> bool:
        """Whether a run has come to its end here."""
        return (self.path / "report.json").exists()

    def claim(self, *, overwrite: bool, needed_bytes: int, goes_on: bool = False) -> str:
        """Makes the folder this run's own. Called on the chief alone, before anything is written.

        Args:
            overwrite: whether what an earlier run left may go.
            needed_bytes: of the largest file that the run is going to write.
            goes_on: whether what is there is this run's own.

        Returns:
            Why it can't be had, in one line; empty if it can.
        """
        found = [name for name in _LEFT_BEHIND if (self.path / name).exists()]
        if goes_on:
            found = []
        if found and not overwrite:
            return (
                f"--run_dir={self.path} holds another run ({', '.join(found)}); expected a new "
                "folder. Use another one, or --overwrite to replace that run."
            )
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f"{atomic.TEMPORARY_PREFIX}probe"
            probe.write_text("")
            probe.unlink()
            reason = self._too_small(needed_bytes)
        except OSError as error:
            reason = (
                f"--run_dir={self.path} can't be written to ({error.strerror}: {error.filename}); "
                "expected a folder that this user may make. Use another --run_dir."
            )
        if reason:
            for folder in made:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            return reason
        for name in (
            *found,
            *(path.name for path in self.path.glob(f"{atomic.TEMPORARY_PREFIX}*")),
        ):
            _remove(self.path / name)
        return ""

    def _too_small(self, needed_bytes: int) -> str:
        free = shutil.disk_usage(self.path).free
        wanted = needed_bytes + _SPARE_BYTES
        if free >= wanted:
            return ""
        return (
            f"--run_dir={self.path} has {free / 2**20:.0f} MiB of space left; expected at least "
            f"{wanted / 2**20:.0f} MiB for the model, its checkpoints and the curves. Make room, "
            "or use another --run_dir."
        )

    def write_json(self, name: str, content: Mapping[str, object]) -> None:
        """Writes a JSON file on the chief; nothing on the others. Not-a-number becomes null.

        Raises:
            ConfigError: it couldn't be written.
        """
        if not self.is_chief:
            return
        text = json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"
        try:
            atomic.write_text(self.path / name, text)
        except OSError as error:
            raise ConfigError(
                f"{self.path / name} can't be written ({error.strerror}); expected room and "
                "permission for it. Make room, or use another --run_dir."
            ) from error


def _finite(value: object) -> object:
    """The same with null for what JSON has no number for: a run may have diverged."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
