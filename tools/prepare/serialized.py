"""Records of any structure as strings that say themselves what they are.

What a string holds, `tfscale.data.formats.prepared` says, which reads it back.
"""

from collections.abc import Iterator

import tensorflow as tf

from tfscale.data.batching import without_autotune
from tfscale.data.formats.prepared import is_plain, names_of
from tfscale.errors import ConfigError
from tfscale.structures import Json, Spec, Structure

_AT_ONCE = 256


def to_json(spec: Spec) -> Json:
    """A structure of specs: dicts and tuples, with shape and dtype of each tensor.

    Raises:
        ConfigError: it has something else, such as sparse tensors, or dicts by numbers.
    """
    if isinstance(spec, tf.TensorSpec):
        shape = None if spec.shape.rank is None else spec.shape.as_list()
        return {"dtype": spec.dtype.name, "shape": shape}
    if isinstance(spec, dict) and all(isinstance(name, str) for name in spec):
        return {"dict": {name: to_json(part) for name, part in spec.items()}}
    if type(spec) is tuple:
        return {"tuple": [to_json(part) for part in spec]}
    raise ConfigError(
        f"The records have {spec!r} in them; expected dense tensors, in dicts by names and in "
        "tuples. Give such records from load, for example with .map(tf.sparse.to_dense)."
    )


def serialized(records: tf.data.Dataset) -> Iterator[bytes]:
    """The records of a dataset as strings, in their order.

    Raises:
        ConfigError: two parts of a record have the same name.
    """
    spec = records.element_spec
    names = names_of(spec)

    def texts_of(*parts: Structure) -> tuple[tf.Tensor, ...]:
        leaves = tf.nest.flatten(parts)  # a tuple comes in its parts, in the same order
        return tuple(leaves if is_plain(spec) else map(tf.io.serialize_tensor, leaves))

    for batch in without_autotune(records.map(texts_of).batch(_AT_ONCE).prefetch(2)):
        columns = [column.numpy().tolist() for column in batch]
        if is_plain(spec):
            yield from columns[0]
        else:
            yield from (_example(names, texts) for texts in zip(*columns, strict=True))


def _example(names: list[str], texts: tuple[bytes, ...]) -> bytes:
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        for name, text in zip(names, texts, strict=True)
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Two runs give the same bytes, so that their checksums can be compared.
    written: bytes = example.SerializeToString(deterministic=True)
    return written
