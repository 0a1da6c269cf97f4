"""Keras's downloads, one process at a time: workers that share a disk would write one file at once.

`keras.utils.get_file` looks whether the file is there, and writes it to its place: a second
process that asks meanwhile finds a part of it. `keras.datasets` and the weights of
`keras.applications` come through it too.
"""

import functools
import inspect
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from tfscale.files.once import once
from tfscale.fit.keras.seams import config
from tfscale.structures import Foreign


@contextmanager
def one_download_at_a_time(say: Callable[[str], None]) -> Iterator[None]:
    """While the body runs, of all processes that ask for a file one downloads it.

    Args:
        say: gets a line every ten seconds of waiting for another process.
    """
    original = keras.utils.get_file

    @functools.wraps(original)
    def get_file(*args: Foreign, **kwargs: Foreign) -> Foreign:
        found: list[Foreign] = []
        once(
            _folder(original, args, kwargs),
            f"download-{zlib.crc32(repr((args, sorted(kwargs.items()))).encode()):08x}",
            lambda: found.append(original(*args, **kwargs)),
            say=say,
            is_done=lambda: False,  # Keras knows whether the file is there, and is whole
        )
        return found[0]

    _replace(original, get_file)
    try:
        yield
    finally:
        _replace(get_file, original)


def _replace(old: Foreign, new: Foreign) -> None:
    """In every module that has it by its name, Keras's and the user's."""
    for module in list(sys.modules.values()):
        if vars(module).get("get_file") is old:
            module.get_file = new  # type: ignore[attr-defined]  # it was just found there


def _folder(
    original: Callable[..., Foreign], args: tuple[Foreign, ...], kwargs: dict[str, Foreign]
) -> Path:
    """Where Keras puts the file."""
    given = inspect.signature(original).bind(*args, **kwargs)
    given.apply_defaults()
    home = os.path.expanduser(given.arguments["cache_dir"] or config.keras_home())
    if not os.access(home, os.W_OK):
        home = os.path.join("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), ".keras")  # noqa: S108 - as Keras does
    return Path(home, given.arguments["cache_subdir"])
