"""Examples that are kept from epoch to epoch, in memory or in a file of a local disk.

An example is made when it is first needed and looked up after that, so that reading and
preprocessing are paid once. A file lives as long as the run and has no name meanwhile: nothing
stale can be found in it, and nothing is left behind, however the run ends.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tensorflow as tf
from numpy.typing import NDArray

from tfscale.data.examples.bad_examples import Make
from tfscale.data.sharding import Places
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.indexed import Indexed
from tfscale.data.sources.source import Source
from tfscale.errors import ConfigError
from tfscale.structures import Spec, Structure

NONE, MEMORY = "none", "memory"  # of --cache; anything else is a folder
_SHARE = 0.5  # of the memory or disk that is free, for all caches of a machine's workers


class ExampleCache:
    """Examples of one split by the numbers of their records.

    Args:
        spec: of an example, with fixed shapes.
        held: uint8 (records, bytes of an example).
    """

    def __init__(self, spec: Spec, held: NDArray[np.uint8]) -> None:
        self._spec, self._held = spec, held
        self._is_held = np.zeros(len(held), np.bool_)

    def around(self, places: Places, make: Make) -> tuple[Places, Make]:
        """Places and what makes examples of them: what is held is neither read nor made again.

        Args:
            places: whose parts are `(index, epoch)`.
            make: of the parts of what `fetch` gives.
        """

        def fetch(index: tf.Tensor, epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return tf.constant(0), index, epoch  # nothing is read before it is known to be needed

        def kept(_: tf.Tensor, index: tf.Tensor, epoch: tf.Tensor) -> Structure:
            is_held, data = tf.numpy_function(self._get, [index], [tf.bool, tf.uint8])
            return tf.cond(
                tf.ensure_shape(is_held, []),
                lambda: self._unpacked(data),
                lambda: self._put(index, make(*places.fetch(index, epoch))),
            )

        return Places(places.elements, fetch, places.index_of), kept

    def _get(self, index: int) -> tuple[np.bool_, NDArray[np.uint8]]:
        is_held = self._is_held[index]
        return is_held, self._held[index] if is_held else self._held[:0].reshape(-1)

    def _store(self, index: int, data: NDArray[np.uint8]) -> np.bool_:
        self._held[index] = data
        self._is_held[index] = True  # only now: another thread may ask
        return np.bool_(True)

    def _put(self, index: tf.Tensor, example: Structure) -> Structure:
        leaves = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(example)]
        stored = tf.numpy_function(
            self._store, [index, tf.concat([_bytes_of(leaf) for leaf in leaves], 0)], tf.bool
        )
        with tf.control_dependencies([stored]):
            return tf.nest.map_structure(
                lambda leaf, one: tf.ensure_shape(tf.identity(leaf), one.shape), example, self._spec
            )

    def _unpacked(self, data: tf.Tensor) -> Structure:
        leaves, begin = [], 0
        for one in tf.nest.flatten(self._spec):
            size = _size_bytes(one)
            leaves.append(_of_bytes(data[begin : begin + size], one))
            begin += size
        return tf.nest.pack_sequence_as(self._spec, leaves)


def cache_of(dataset: DatasetFile, source: Source, spec: Spec, varies: str) -> ExampleCache | None:
    """A cache for the examples of a split; None if none is asked for.

    Args:
        dataset: the user's, and the `--cache` of the run.
        source: the split.
        spec: of an example.
        varies: why examples are other ones each epoch, if they are.

    Raises:
        ConfigError: examples are other ones each epoch, of different size, or too many.
    """
    if dataset.cache == NONE:
        return None
    leaves = tf.nest.flatten(spec)
    if varies:
        why = f"whose preprocess {varies} and gives other examples in each epoch"
    elif not isinstance(source, Indexed):
        why = "whose records aren't reached by an index"
    elif any(not leaf.shape.is_fully_defined() or leaf.dtype == tf.string for leaf in leaves):
        why = "whose examples have texts or differ in size"
    else:
        each = sum(map(_size_bytes, leaves))
        return ExampleCache(
            spec, _space(dataset.cache, (source.num_examples, each), dataset.caches)
        )
    raise ConfigError(
        f"--cache={dataset.cache} is given for {source.name}, {why}; expected examples that are "
        "the same each time. Leave --cache out."
    )


def _space(where: str, shape: tuple[int, int], caches: int) -> NDArray[Any]:
    """Room for so many examples of so many bytes; it is taken as it fills."""
    folder = None if where == MEMORY else Path(os.path.expanduser(where))
    if folder is None:
        free = psutil.virtual_memory().available
    else:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    needed = shape[0] * shape[1] * caches
    if needed > _SHARE * free:
        raise ConfigError(
            f"--cache={where} needs {needed / 2**30:.2f} GiB on this machine, for {caches} caches "
            f"of {shape[0]:,} examples of {shape[1]:,} bytes; expected at most half of the "
            f"{free / 2**30:.2f} GiB that are free. Give a folder of a larger disk, or leave "
            "--cache out."
        )
    if folder is None:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(max(1, shape[0] * shape[1]))
        return np.memmap(file, np.uint8, "r+", shape=shape)


def _size_bytes(spec: tf.TensorSpec) -> int:
    return int(spec.shape.num_elements() * spec.dtype.size)


def _bytes_of(leaf: tf.Tensor) -> tf.Tensor:
    plain = tf.cast(leaf, tf.uint8) if leaf.dtype == tf.bool else tf.bitcast(leaf, tf.uint8)
    return tf.reshape(plain, [-1])


def _of_bytes(data: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
    if spec.dtype == tf.bool:
        return tf.reshape(tf.cast(data, tf.bool), spec.shape)
    size = spec.dtype.size
    shape = spec.shape.as_list() + ([size] if size > 1 else [])
    return tf.bitcast(tf.reshape(data, shape), spec.dtype)
