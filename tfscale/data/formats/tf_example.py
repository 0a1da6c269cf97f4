"""Records that are `tf.train.Example`: what is in them, from a small file beside them.

`features.json` has a shape and a dtype for each feature, as whoever wrote the records knows them:

    {"image": {"dtype": "string", "shape": []},
     "label": {"dtype": "int64", "shape": []},
     "boxes": {"dtype": "float32", "shape": [null, 4]},
     "weight": {"dtype": "float32", "shape": [], "default": 1.0}}

A first dimension of null has a length of its own in each record. The form of an Example is
https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

import json
import os
from typing import Any

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.errors import ConfigError
from tfscale.structures import Json, Structure

NAME = "features.json"
DTYPES = ("string", "int64", "float32")  # what an Example can hold


def examples(serialized: Collection, features: str) -> Collection:
    """Records of serialized Examples as dicts of tensors.

    Args:
        serialized: records that are scalar texts, as `tfrecord.records` or `array_record.records`
            give them.
        features: path of the file that describes them.

    Raises:
        ConfigError: the file can't be used.
    """
    described = parsed(features)

    @tf.autograph.experimental.do_not_convert  # nothing of it is the user's
    def example(record: tf.Tensor) -> Structure:
        return tf.io.parse_single_example(record, described)

    return serialized.map(example)


def parsed(features: str) -> dict[str, Any]:
    """What `tf.io.parse_single_example` is to be told, by the name of each feature.

    Raises:
        ConfigError: the file isn't there, or isn't as described above.
    """
    try:
        with open(os.path.expanduser(features), encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise ConfigError(
            f"{features} can't be read ({error.strerror}); expected a description of the records, "
            'for example {"image": {"dtype": "string", "shape": []}}.'
        ) from error
    except ValueError as error:
        raise ConfigError(f"{features} isn't JSON ({error}); expected a JSON object.") from error
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{features} names no feature; expected an object of them by name.")
    return {name: _feature(value, f"{features}, {name!r}") for name, value in content.items()}


def _feature(value: Json, place: str) -> Any:  # noqa: ANN401 - one of two classes of TensorFlow
    keys = set(value) if isinstance(value, dict) else set()
    if not {"dtype", "shape"} <= keys <= {"dtype", "shape", "default"}:
        raise ConfigError(
            f"{place} is {json.dumps(value)}; expected an object with dtype and shape, and default "
            "where a record may lack it."
        )
    dtype, shape = value["dtype"], value["shape"]
    if dtype not in DTYPES:
        raise ConfigError(
            f"{place} has dtype {dtype!r}; expected one of {', '.join(DTYPES)}, which are all that "
            "a tf.train.Example holds. Cast or decode in preprocess."
        )
    if not isinstance(shape, list) or not all(map(_is_size, shape[1:])):
        raise _wrong_shape(place, shape)
    default = value.get("default")
    if shape and shape[0] is None:
        if default is not None:
            raise ConfigError(f"{place} has a length of its own and a default; expected one.")
        return tf.io.FixedLenSequenceFeature(shape[1:], tf.as_dtype(dtype), allow_missing=True)
    if shape and not _is_size(shape[0]):
        raise _wrong_shape(place, shape)
    return tf.io.FixedLenFeature(shape, tf.as_dtype(dtype), default)


def _is_size(size: Json) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size > 0


def _wrong_shape(place: str, shape: Json) -> ConfigError:
    return ConfigError(
        f"{place} has the shape {json.dumps(shape)}; expected a list of positive numbers, of which "
        "the first may be null."
    )
