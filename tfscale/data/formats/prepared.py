"""What launch/prepare.py wrote, read back: records of the structure that they were given in."""

import os
from pathlib import Path

from tfscale.data.collection import Collection
from tfscale.data.formats import array_record, tfrecord
from tfscale.data.formats.record_spec import from_json, is_plain
from tfscale.data.formats.serialized import parsed
from tfscale.errors import ConfigError
from tfscale.files import manifest

_READERS = {"tfrecord": tfrecord.records, "array_record": array_record.records}


def records(folder: str | os.PathLike[str]) -> Collection:
    """The records of a folder of shards, in the order of the split that they were made of.

    Args:
        folder: of one split, with the manifest that says what the records are.

    Returns:
        Records of the same structure, shapes and dtypes as `load` gave.

    Raises:
        ConfigError: the preparation isn't finished, or a shard is missing or isn't as it was
            written, as far as names, sizes and counts show it.
    """
    path = Path(os.path.expanduser(folder))
    found = manifest.verify(path, hashes=False)
    if found.format not in _READERS:
        raise ConfigError(
            f"{path / manifest.NAME} says format {found.format!r}; expected one of "
            f"{', '.join(_READERS)}. Prepare anew."
        )
    stored = _READERS[found.format]([path / name for name in found.files])
    spec = from_json(found.spec)
    return stored if is_plain(spec) else stored.map(lambda text: parsed(text, spec))
