"""A checkpoint on disk: a folder that is there as a whole or not at all, and says what is in it.

It is written under another name, made durable, and renamed. Its manifest has the size and SHA-256
of every file, and of itself, because a file can be cut off or changed later: safetensors notices
the first and not the second.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from tfscale.files.atomic import TEMPORARY_PREFIX, sync
from tfscale.files.checkpoint_names import name_of, step_of
from tfscale.files.manifest import sha256_of
from tfscale.structures import Json

MANIFEST = "manifest.json"
_REFUSED = "refused-"
_VERSION = 1
_FILE = re.compile(r"[a-z]+\.safetensors")
_MOST_BYTES = 2**30  # of a manifest; nobody's is larger, and a wrong one must not fill the memory


class RefusedError(Exception):
    """Why a folder is no checkpoint that can be gone on from, in some words."""


@dataclass(frozen=True)
class Checkpoint:
    """One that has been verified.

    Args:
        path: of its folder.
        step: training steps that were taken before it.
        facts: what it says beside its arrays.
    """

    path: Path
    step: int
    facts: Mapping[str, Json]

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by their names, read now.

        Raises:
            OSError: they can't be read any more.
        """
        found: dict[str, np.ndarray] = {}
        for name in sorted(self.facts["files"]):
            found |= load_file(self.path / name)
        return found


def write(
    folder: Path,
    step: int,
    files: Mapping[str, Mapping[str, np.ndarray]],
    facts: Mapping[str, Json],
) -> Path:
    """Writes a checkpoint, unless there is one of that step; returns when it is durable.

    Args:
        folder: of all checkpoints of a run; it is made if it isn't there.
        step: training steps so far.
        files: arrays of each file, whose name ends with `.safetensors`.
        facts: what else is to be known, ready for JSON.

    Raises:
        OSError: it couldn't be written; nothing of it is left, or a folder that nobody reads.
    """
    target = folder / name_of(step)
    if target.exists():
        return target
    temporary = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{target.name}"
    try:
        temporary.mkdir(parents=True)
        written = {name: _write_file(temporary / name, files[name]) for name in files}
        content = {**facts, "step": step, "files": written}
        text = json.dumps({"version": _VERSION, "sha256": _sha256(content), "content": content})
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        sync(temporary / MANIFEST)
        sync(temporary)
        temporary.rename(target)
        sync(folder)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint of a folder that is what it was when it was written.

    Newer ones that aren't get another name, so that nobody takes them for one again.

    Returns:
        It, or None; and for each that was refused a line with the reason.
    """
    refused: list[str] = []
    for path in reversed(list(all_of(folder))):
        try:
            return verify(path), refused
        except (RefusedError, OSError) as error:
            refused.append(f"{path} is refused: {error}")
            _put_aside(path)
    return None, refused


def all_of(folder: Path) -> Iterator[Path]:
    """The folders of a run's checkpoints, verified or not, the oldest first."""
    try:
        entries = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return
    for name in sorted((name for name in entries if step_of(name) >= 0), key=step_of):
        yield folder / name


def last_step(folder: Path) -> int:
    """Training steps before the newest checkpoint, verified or not; 0 where there is none."""
    return max((step_of(path.name) for path in all_of(folder)), default=0)


def verify(path: Path) -> Checkpoint:
    """Reads what a checkpoint says, and compares all of its bytes with that.

    Raises:
        RefusedError: it isn't what was written.
        OSError: it can't be read.
    """
    if path.is_symlink() or (path / MANIFEST).is_symlink():
        raise RefusedError("it is a link; expected the folder itself")
    content = _content(path / MANIFEST)
    files = content.get("files")
    if content.get("step") != step_of(path.name) or not isinstance(files, dict) or not files:
        raise RefusedError(f"its {MANIFEST} is that of another folder")
    for name, said in files.items():
        file = path / name
        if not _FILE.fullmatch(name) or file.is_symlink():
            raise RefusedError(f"{name!r} is no file of a checkpoint")
        if not file.is_file():
            raise RefusedError(f"{name} is missing")
        size = file.stat().st_size
        if size != said["bytes"]:
            raise RefusedError(f"{name} has {size:,} bytes, not the {said['bytes']:,} written")
        if sha256_of(file) != said["sha256"]:
            raise RefusedError(f"{name} has changed since it was written")
        _require_readable(file)
    return Checkpoint(path, content["step"], content)


def facts_of(path: Path) -> Mapping[str, Json]:
    """What a checkpoint says beside its arrays, without a look at these.

    Raises:
        RefusedError: it can't be understood, or has changed.
    """
    return _content(path / MANIFEST)


def remove(path: Path) -> None:
    """Removes a checkpoint; one that is half removed is no checkpoint any more.

    Raises:
        OSError: it couldn't be renamed.
    """
    gone = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-old-{path.name}")
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _write_file(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Json]:
    try:
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error  # which is what writing a file has come to
    sync(path)
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _content(path: Path) -> dict[str, Json]:
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(_MOST_BYTES))
        content, digest, version = said["content"], said["sha256"], said["version"]
    except FileNotFoundError:
        raise RefusedError(f"{MANIFEST} is missing") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError(f"its {MANIFEST} can't be understood ({error})") from None
    if version != _VERSION:
        raise RefusedError(f"it is of version {version!r}, not {_VERSION}")
    if not isinstance(content, dict) or digest != _sha256(content):
        raise RefusedError(f"its {MANIFEST} has changed since it was written")
    return content


def _sha256(content: Mapping[str, Json]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _require_readable(file: Path) -> None:
    """Reads a header that whoever wrote the manifest may have made up as well."""
    try:
        with safe_open(file, framework="numpy") as opened:
            opened.keys()
    except SafetensorError as error:
        raise RefusedError(f"{file.name} can't be read ({error})") from None


def _put_aside(path: Path) -> None:
    aside = path.with_name(_REFUSED + path.name)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        path.rename(aside)
    except OSError:
        return  # in a folder that can't be written to it is refused again
