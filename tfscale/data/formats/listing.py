"""The files of a split in a fixed order, compared with the manifest beside them."""

import glob
import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tfscale.data.collection import StoredFile
from tfscale.data.formats.record_index import INDEX_SUFFIX
from tfscale.errors import ConfigError
from tfscale.files import manifest
from tfscale.files.manifest import Manifest


@dataclass(frozen=True)
class Listing:
    """Files of records, none of which was opened.

    Args:
        paths: in their order.
        sizes: in bytes, of each.
        manifests: of the folders that have one.
    """

    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    manifests: Mapping[Path, Manifest]

    def promised(self, number: int) -> int | None:
        """How many records the manifest says that a file holds; None where there is none."""
        path = Path(self.paths[number])
        found = self.manifests.get(path.parent)
        return None if found is None else found.files[path.name].records

    def stored(self, counts: Sequence[int]) -> tuple[StoredFile, ...]:
        """The files with the records that were counted in them.

        Raises:
            ConfigError: a manifest says another number, or there is no record at all.
        """
        for name, count in zip(self.paths, counts, strict=True):
            path = Path(name)
            if path.parent in self.manifests:
                self.manifests[path.parent].require(path.parent, path.name, records=count)
        if not sum(counts):
            raise ConfigError(
                f"{self.paths[0]} and what is listed with it ({len(self.paths)} files) hold no "
                "record; expected at least one. Check how they were written."
            )
        return tuple(
            StoredFile(name, count, size)
            for name, count, size in zip(self.paths, counts, self.sizes, strict=True)
        )


def list_files(files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Listing:
    """Finds files, sorted by their paths.

    Args:
        files: a path or a glob pattern ("**" goes into folders), or several. `~` is the user's
            home. Indexes and manifests that a pattern also finds are left out.

    Raises:
        ConfigError: there is none, one is listed twice, or one isn't as the manifest beside it
            says, which also knows which are missing.
    """
    given = [files] if isinstance(files, str | os.PathLike) else list(files)
    patterns = [in_real_folder(os.path.expanduser(os.fspath(each))) for each in given]
    paths = sorted(path for pattern in patterns for path in _expanded(pattern))
    if not paths:
        raise ConfigError("No file of records was given; expected a pattern or a list of paths.")
    for path, following in zip(paths, paths[1:], strict=False):
        if path == following:
            raise ConfigError(
                f"{path} is listed twice; expected each file once, because each of its records "
                "would come twice. Take one away, or one of the patterns that find it."
            )
    sizes = [_size_of(path) for path in paths]
    manifests = _manifests(paths, patterns)
    for name, size in zip(paths, sizes, strict=True):
        if (folder := Path(name).parent) in manifests:
            manifests[folder].require(folder, Path(name).name, num_bytes=size)
    return Listing(tuple(paths), tuple(sizes), manifests)


def in_real_folder(pattern: str) -> str:
    """A pattern whose letters stand for themselves as far as its folders are there by that name.

    A folder may be called `photos [2024]`, and a pattern begin with it.
    """
    if os.path.isfile(pattern):
        return glob.escape(pattern)
    folder = os.path.dirname(pattern)
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder) if os.path.dirname(folder) != folder else ""
    return glob.escape(folder) + pattern[len(folder) :]


def checksum(format_name: str, files: Sequence[StoredFile]) -> int:
    """The same on workers whose files have the same names, sizes and counts, wherever they lie.

    Times of change aren't in it, which a copy changes.
    """
    said = [(os.path.basename(file.path), file.num_bytes, file.num_records) for file in files]
    return zlib.crc32(json.dumps([format_name, said]).encode())


def _expanded(pattern: str) -> list[str]:
    found = glob.glob(pattern, recursive=True)
    if found == [_named(pattern)] and os.path.isdir(found[0]):
        example = os.path.join(found[0], "*.tfrecord")
        raise ConfigError(f"{found[0]} is a folder; expected files, for example {example}.")
    paths = [path for path in found if os.path.isfile(path) and not _is_beside(path)]
    if not paths:
        raise ConfigError(
            f"There is no file {_named(pattern)} (in {os.getcwd()}); expected files of records. "
            "Check the path, and whether this machine has the folder mounted."
        )
    return paths


def _named(pattern: str) -> str:
    """The pattern as it was given, without what `glob.escape` has put into it."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


def _is_beside(path: str) -> bool:
    name = os.path.basename(path)
    return name.endswith(INDEX_SUFFIX) or name == manifest.NAME


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise ConfigError(f"{path} can't be opened ({error.strerror}); expected a file.") from error


def _manifests(paths: Sequence[str], patterns: Sequence[str]) -> dict[Path, Manifest]:
    """Those beside the files; what one names and a pattern would find has to be there."""
    found = {}
    listed = {_plain(path) for path in paths}
    for folder in sorted({Path(path).parent for path in paths}):
        read = manifest.read(folder)
        if read is None:
            continue
        found[folder] = read
        for name in read.files:
            path = str(folder / name)
            if path not in listed and any(fnmatch(path, _plain(each)) for each in patterns):
                raise manifest.missing(Path(path))
    return found


def _plain(pattern: str) -> str:
    """As `Path` writes it, so that "./" and "//" are no difference."""
    return str(Path(pattern))
