"""`manifest.json` of a folder of shards: what has to be in each file, to see when it isn't.

A shard that was cut off while it was copied can look like a smaller one, and a shard that is
missing like a smaller data set. Only somebody who knows what was written can tell.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.structures import Json

NAME = "manifest.json"
_KEY = "tfscale_manifest"  # by which ours is told from other programs' files of that name
_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """What a file has to hold.

    Args:
        records: how many.
        num_bytes: its size.
        sha256: of all of it, in hexadecimal digits.
    """

    records: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a folder has to hold.

    Args:
        files: each by its name, in the order of their records.
        spec: of one record, in the words of `tfscale.data.formats.prepared`; None if unsaid.
        format: "tfrecord", "array_record" or another name of a format.
        source: what the shards were made of and how, to see whether they would be made again.
    """

    files: Mapping[str, Shard]
    spec: Json = None
    format: str = ""
    source: Json = None

    def require(
        self, folder: Path, name: str, *, num_bytes: int | None = None, records: int | None = None
    ) -> None:
        """Compares a file with what it has to be.

        Args:
            folder: for the message.
            name: of the file.
            num_bytes: its size as found; None to leave it out.
            records: how many it was found to hold; None to leave it out.

        Raises:
            ConfigError: it isn't in the manifest, or isn't as that says.
        """
        expected = self.files.get(name)
        if expected is None:
            raise ConfigError(
                f"{folder / name} isn't in {NAME} beside it, which names {len(self.files)} files; "
                f"expected only those. Move it elsewhere, or remove {NAME} if it is out of date."
            )
        pairs = (
            ("bytes", num_bytes, expected.num_bytes),
            ("records", records, expected.records),
        )
        for what, found, wanted in pairs:
            if found is not None and found != wanted:
                raise _differs(folder / name, f"has {found:,} {what}", f"{wanted:,}")


def read(folder: Path) -> Manifest | None:
    """The manifest of a folder, or None where there is none of ours.

    Raises:
        ConfigError: it can't be read, or says something else than a manifest does.
    """
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read ({error}); expected a manifest.") from error
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or _KEY not in content:
            return None
        if content[_KEY] != _VERSION:
            raise ValueError(f"version {content[_KEY]}, not {_VERSION}")
        files = {_plain(name): _shard(said) for name, said in content["files"].items()}
        return Manifest(files, content["spec"], content["format"], content["source"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{path} can't be understood ({type(error).__name__}: {error}); expected what "
            "launch/prepare.py writes. Copy it again from where it was made, or prepare anew."
        ) from error


def write(folder: Path, manifest: Manifest) -> None:
    """Writes it, whole or not at all; call it when all of its files are there.

    Raises:
        OSError: it couldn't be written.
    """
    content = {_KEY: _VERSION, **asdict(manifest)}
    content["files"] = {
        name: {"records": shard.records, "bytes": shard.num_bytes, "sha256": shard.sha256}
        for name, shard in manifest.files.items()
    }
    atomic.write_text(folder / NAME, json.dumps(content, indent=2) + "\n")


def verify(folder: Path, *, hashes: bool, count: Callable[[Path], int] | None = None) -> Manifest:
    """Compares every file of a folder with its manifest.

    Args:
        folder: that has one.
        hashes: whether every byte is read; otherwise only sizes are compared.
        count: tells how many records a file holds, where they are to be counted too.

    Returns:
        The manifest.

    Raises:
        ConfigError: there is none, a file is missing, or one isn't as it says.
    """
    manifest = read(folder)
    if manifest is None:
        raise ConfigError(
            f"{folder} has no {NAME}; expected a folder that launch/prepare.py has written whole."
        )
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise missing(path)
        manifest.require(folder, name, num_bytes=path.stat().st_size)
        if hashes and (found := sha256_of(path)) != expected.sha256:
            raise _differs(path, f"has SHA-256 {found}", expected.sha256)
        if count is not None:
            manifest.require(folder, name, records=count(path))
    return manifest


def missing(path: Path) -> ConfigError:
    """Why a folder can't be used of which a file is missing."""
    return ConfigError(
        f"{path} is missing, which {NAME} beside it names; expected all of its files. Copy it "
        "again from where it was made, or prepare anew."
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits; it is read piece by piece.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(name: str) -> str:
    """The name, if it is that of a file of the folder and leads nowhere else."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no file of this folder")
    return name


def _shard(said: Json) -> Shard:
    return Shard(int(said["records"]), int(said["bytes"]), str(said["sha256"]))


def _differs(path: Path, found: str, wanted: str) -> ConfigError:
    return ConfigError(
        f"{path} {found}; expected {wanted}, as {NAME} beside it says: it was changed or cut off. "
        "Copy it again from where it was made, or prepare anew."
    )
