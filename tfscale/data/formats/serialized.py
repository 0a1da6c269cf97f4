"""Records of any structure as strings that say themselves what they are.

A record is a `tf.train.Example`, with a feature for each tensor by its name (`record_spec`), whose
one value is what `tf.io.serialize_tensor` makes of it. A record that is one string is stored as it
is: it may be a JPEG, or an example already.
"""

from collections.abc import Iterator

import tensorflow as tf

from tfscale.data.batching import without_autotune
from tfscale.data.formats.record_spec import is_plain, names_of
from tfscale.structures import Spec, Structure

_AT_ONCE = 256


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


def parsed(text: tf.Tensor, spec: Spec) -> Structure:
    """The record of a string, in a function that TensorFlow traces.

    Args:
        text: string scalar.
        spec: of the record.
    """
    if is_plain(spec):
        return text
    names = names_of(spec)
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in names}
    found = tf.io.parse_single_example(text, features)
    leaves = [
        tf.ensure_shape(tf.io.parse_tensor(found[name], leaf.dtype), leaf.shape)
        for name, leaf in zip(names, tf.nest.flatten(spec), strict=True)
    ]
    return tf.nest.pack_sequence_as(spec, leaves)


def _example(names: list[str], texts: tuple[bytes, ...]) -> bytes:
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        for name, text in zip(names, texts, strict=True)
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Two runs give the same bytes, so that their checksums can be compared.
    written: bytes = example.SerializeToString(deterministic=True)
    return written
