import json

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats import prepared
from tfscale.data.formats.prepared import from_json, is_plain, names_of
from tfscale.errors import ConfigError
from tfscale.files import manifest
from tfscale.files.manifest import Manifest
from tools.prepare.serialized import serialized, to_json
from tools.prepare.shard_writers import WRITERS

IMAGE = tf.TensorSpec([None, None, 3], tf.uint8)
LABEL = tf.TensorSpec([], tf.int64)
RECORDS = {
    "pairs": lambda n: (tf.fill([n % 3, 2], n), tf.cast(n, tf.uint8)),
    "dicts": lambda n: {"x": tf.cast(n, tf.float32), "name": tf.strings.as_string(n)},
    "texts": tf.strings.as_string,
}


def _write(folder, records, kind="tfrecord", sizes=(2, 3)):
    texts = serialized(records)
    files = {}
    for number, size in enumerate(sizes):
        name = f"{number}.{kind}"
        files[name] = WRITERS[kind](folder / name, (next(texts) for _ in range(size)))
    manifest.write(folder, Manifest(files, to_json(records.element_spec), kind))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("make", RECORDS.values(), ids=RECORDS)
def test_records_have_the_structure_that_they_were_given_in(tmp_path, make, kind):
    records = tf.data.Dataset.range(5).map(make)
    _write(tmp_path, records, kind)
    found = prepared.records(tmp_path)
    assert found.num_records == 5
    back = tf.data.Dataset.range(5).batch(2).map(found.read).unbatch()
    for function in found.functions:
        back = back.map(function)
    assert back.element_spec == records.element_spec
    for one, other in zip(back, records, strict=True):
        for leaf, same in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
            np.testing.assert_array_equal(leaf.numpy(), same.numpy())


def test_a_folder_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no manifest\.json; expected a folder that launch"):
        prepared.records(tmp_path)


@pytest.mark.promise("damage")
def test_a_shard_that_is_missing_is_named(tmp_path):
    _write(tmp_path, tf.data.Dataset.range(5))
    (tmp_path / "1.tfrecord").unlink()
    with pytest.raises(ConfigError, match=r"1\.tfrecord is missing"):
        prepared.records(tmp_path)


@pytest.mark.promise("damage")
def test_a_shard_that_was_cut_off_is_named(tmp_path):
    _write(tmp_path, tf.data.Dataset.range(5))
    path = tmp_path / "1.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"1\.tfrecord has .* bytes; expected"):
        prepared.records(tmp_path)


def test_a_format_that_is_unknown_is_refused(tmp_path):
    _write(tmp_path, tf.data.Dataset.range(5))
    content = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(content | {"format": "zip"}))
    with pytest.raises(ConfigError, match="says format 'zip'; expected one of tfrecord"):
        prepared.records(tmp_path)


@pytest.mark.parametrize("said", [None, {}, {"shape": [3]}, {"dtype": "uint3", "shape": []}])
def test_a_spec_that_is_none_is_refused(said):
    with pytest.raises(ConfigError, match="can't be understood"):
        from_json(said)


def test_names_are_in_the_order_of_the_tensors():
    spec = {"b": LABEL, "a": (IMAGE, {"c": LABEL})}
    assert names_of(spec) == ["a/0", "a/1/c", "b"]
    assert tf.nest.flatten(tf.nest.pack_sequence_as(spec, names_of(spec))) == names_of(spec)
    assert names_of(LABEL) == ["record"]


def test_parts_that_would_have_the_same_name_are_refused():
    with pytest.raises(ConfigError, match="two parts that are called 'a/b'"):
        names_of({"a": {"b": LABEL}, "a/b": LABEL})


def test_one_string_is_stored_as_it_is():
    assert is_plain(tf.TensorSpec([], tf.string))
    assert not is_plain(tf.TensorSpec([1], tf.string))
    assert not is_plain((tf.TensorSpec([], tf.string),))
