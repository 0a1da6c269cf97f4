"""What has to lie on disk before records are read: one worker of each file system sees to it."""

import functools
import inspect
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.dataset_graph import cache_files
from tfscale.errors import ConfigError, one_line
from tfscale.files.once import marker_of, once


def prepare(dataset: DatasetFile, say: Callable[[str], None]) -> None:
    """Calls the dataset file's `prepare`, once for each data folder, while the others wait.

    A marker in the folder remembers it. It is another one for another text of the function and
    for other options of the file.

    Args:
        dataset: the user's.
        say: gets a line every ten seconds of waiting.

    Raises:
        ConfigError: `prepare` failed.
    """
    if dataset.prepare is None:
        return
    function, folder = dataset.prepare, Path(dataset.data_dir)

    def work() -> None:
        say(f"{dataset.name}: prepare() works in {folder}, once for all workers that have it")
        try:
            function()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{dataset.name}: prepare() raised {one_line(error)}") from error

    name = f"prepare-{_fingerprint(function, dataset.options):08x}"
    if not once(folder, name, work, say=say):
        marker = marker_of(folder, name)
        say(f"{dataset.name}: prepare() was done before; remove {marker} to have it done again")


def fill_caches(records: tf.data.Dataset, say: Callable[[str], None]) -> None:
    """Reads what is cached in files once as a whole: several processes can't write one cache.

    Args:
        records: a dataset of the user's, in which `.cache(path)` may stand anywhere.
        say: gets a line every ten seconds of waiting.
    """
    for path, cached in cache_files(records):
        if cached.cardinality() == tf.data.INFINITE_CARDINALITY:
            continue  # it is never whole, and TensorFlow says so when it is read
        index = Path(f"{path}.index")  # TensorFlow writes it last
        name = f"cache-{zlib.crc32(index.name.encode()):08x}"
        read = functools.partial(_read_through, cached)
        once(index.resolve().parent, name, read, say=say, is_done=index.is_file)


def _read_through(records: tf.data.Dataset) -> None:
    for _ in records:
        pass


def _fingerprint(function: Callable[..., Any], options: tuple[str, ...]) -> int:
    inner = getattr(function, "func", function)
    try:
        text = inspect.getsource(inner)
    except (OSError, TypeError):
        text = getattr(inner, "__qualname__", "")
    return zlib.crc32(repr((text, sorted(options))).encode())
