"""The one folder that a run writes to, and who may write what into it.

Only the chief writes a run's files, each by a temporary name and a rename, so that a file is there
as a whole or not at all. The logs are the exception: every worker has its own.

What a run has earned must not go with its folder: one that is deleted meanwhile is made again, and
where none can be had the files go to a folder that stays when the process has ended.
"""

import contextlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.files.checkpoint_names import FOLDER
from tfscale.files.ownership import exposure_of, make_private, missing_folders, remove_empty
from tfscale.process.exit import lasting_folder
from tfscale.process.terminal import silence
from tfscale.structures import Json

# What a run leaves behind; logs are kept, because they tell what happened to an earlier run.
_LEFT_BEHIND = (
    *("report.json", "config.json", "model.keras", "tensorboard", FOLDER),
    # In place of model.keras, and beside it, for models that plain Keras can't save or load.
    *("model.weights.h5", "model.weights.npz", "load_model.py"),
)
_SPARE_BYTES = 16 * 2**20
LOGS = "logs"  # the folder of every worker's words, in the run directory
_SETTINGS = "config.json"


def read_settings(run_dir: Path) -> dict[str, Json]:
    """The content of a run's `config.json`; nothing where there is none."""
    try:
        found: dict[str, Json] = json.loads((run_dir / _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


class RunDirectory:
    """A run's folder as one worker may use it.

    Args:
        path: the folder; it is made by `claim`.
        cluster: the chief writes, the others don't.
        complain: gets a line for what could not be written and is not worth a run.
    """

    def __init__(
        self, path: str, cluster: Cluster, complain: Callable[[str], None] = silence
    ) -> None:
        self.path = Path(path)
        self.is_chief = cluster.is_chief
        self.log = self.path / LOGS / f"worker-{cluster.index}.log"
        self._complain = complain
        self._settings = ""  # text of config.json, for a folder that is made again
        self._elsewhere: Path | None = None
        self._reason = ""  # why not all files are in `path`
        self._lost = ""  # the file that couldn't be kept at all

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
        made: list[Path] = []
        try:
            found = [name for name in _LEFT_BEHIND if (self.path / name).exists()]
            # One that goes on isn't over any more; its model stays until there is a better one.
            found = ["report.json"] if goes_on else found
            if found and not overwrite and not goes_on:
                return (
                    f"--run_dir={self.path} holds another run ({', '.join(found)}); expected a new "
                    "folder. Use another one, or --overwrite to replace that run."
                )
            made = missing_folders(self.path)
            make_private(self.path)
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
            remove_empty(made)
            return reason
        for name in (
            *found,
            *(path.name for path in self.path.glob(f"{atomic.TEMPORARY_PREFIX}*")),
        ):
            _remove(self.path / name)
        if exposed := exposure_of(self.path):
            self._complain(
                f"--run_dir={self.path} {exposed}: what is loaded from it may be theirs."
            )
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

    def make_again(self) -> None:
        """Makes the folder, with config.json, where somebody has removed it; else does nothing.

        Raises:
            OSError: it can't be had.
        """
        if make_private(self.path) and self.is_chief and self._settings:
            atomic.write_text(self.path / _SETTINGS, self._settings)

    def write(self, name: str, write: Callable[[Path], None]) -> Path:
        """Writes one of the run's files on the chief, whole or not at all, wherever there is room.

        Args:
            name: of the file.
            write: gets the path to write to, which ends with `name`; called a second time with
                one in another folder if the first can't be written.

        Returns:
            Where the file is.

        Raises:
            OSError: it can't be written anywhere.
            Exception: whatever `write` raises beside that; nothing is left behind.
        """
        failure: OSError | None = None
        if self._elsewhere is None:
            try:
                self.make_again()
                with atomic.replacing(self.path / name) as temporary:
                    write(temporary)
                return self.path / name
            except OSError as error:
                failure = error
        folder = self._elsewhere or lasting_folder()
        try:
            with atomic.replacing(folder / name) as temporary:
                write(temporary)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.rmdir()  # unless there is something in it
            raise
        if failure is not None:
            self._elsewhere, self._reason = folder, reason_of(failure)
        return folder / name

    def write_settings(self, content: Mapping[str, object]) -> None:
        """Writes config.json on the chief, if it can be; nothing on the others."""
        if not self.is_chief:
            return
        self._settings = _text_of(content)
        try:
            self.make_again()
            atomic.write_text(self.path / _SETTINGS, self._settings)
        except OSError as error:
            self._complain(f"{self.path / _SETTINGS} can't be written ({reason_of(error)}).")

    def write_report(self, content: Mapping[str, object]) -> None:
        """Writes report.json on the chief, wherever it can be; nothing on the others."""
        if not self.is_chief:
            return
        text = _text_of(content)
        try:
            self.write("report.json", lambda path: _write_text(path, text))
        except OSError as error:
            self._reason = self._reason or reason_of(error)
            self._lost = "report.json"

    @property
    def problem(self) -> ConfigError | None:
        """Why not all of the run's files are where they were asked for, and where they are."""
        if not self._reason:
            return None
        came = f"--run_dir={self.path} can't be written to ({self._reason})"
        told = [f"{self._lost} is lost"] if self._lost else []
        if self._elsewhere is not None:
            names = ", ".join(sorted(path.name for path in self._elsewhere.iterdir()))
            told = [f"this run's {names} went to {self._elsewhere}", *told]
        return ConfigError(
            f"{came}; expected room and permission for its files: {', '.join(told)}. Make room, or "
            "use another --run_dir."
        )


def reason_of(error: OSError) -> str:
    """What the system says of a file that it doesn't take, in a few words."""
    return error.strerror or str(error)


def _text_of(content: Mapping[str, object]) -> str:
    """The content as JSON; not-a-number becomes null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


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
