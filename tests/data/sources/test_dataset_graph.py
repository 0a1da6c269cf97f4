"""What a dataset of the user's is made of, and that each worker makes only its share of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfscale.data.sharding import Sharding
from tfscale.data.sources.batch_check import batch_of
from tfscale.data.sources.dataset_graph import collection_of, last_maps
from tfscale.data.sources.indexed import Indexed
from tfscale.data.sources.source import classified
from tfscale.data.sources.streams import Stream
from tfscale.errors import ConfigError


def _numbers(size=10):
    return tf.data.Dataset.range(3, 3 + 2 * size, 2)


def _pairs():
    return tf.data.Dataset.from_tensor_slices({"x": np.arange(10.0), "y": list("abcdefghij")})


def _doubled(record):
    return record * 2


CHAINS = {
    "range": _numbers,
    "slices": _pairs,
    "tuples": lambda: tf.data.Dataset.from_tensor_slices((np.eye(4), [1, 2, 3, 4])),
    "ragged by map": lambda: _numbers().map(lambda n: tf.range(n)),
    "map of a tuple": lambda: tf.data.Dataset.from_tensor_slices(([1, 2], [3, 4])).map(
        lambda a, b: (a + b, {"b": b})
    ),
    "map of a dict": lambda: _pairs().map(lambda one: (one["x"], tf.strings.length(one["y"]))),
    "parallel map, prefetch, options": lambda: (
        _numbers().map(_doubled, 4).prefetch(2).with_options(tf.data.Options())
    ),
    "zip": lambda: tf.data.Dataset.zip((_numbers().map(_doubled), _pairs())),
    "zip of a longer one": lambda: tf.data.Dataset.zip({"a": _numbers(4), "b": _numbers(9)}),
    "take, skip, shard, repeat": lambda: _numbers(20).take(17).skip(2).shard(4, 1).repeat(3),
    "take more than there is": lambda: _numbers().take(99).skip(-1).concatenate(_numbers()),
    "one for all": lambda: tf.data.Dataset.zip(
        (_numbers(), tf.data.Dataset.from_tensors([7, 8]).repeat())
    ),
    "two, one after the other": lambda: _numbers().map(_doubled).concatenate(_numbers(3)),
    "a number that is known": lambda: _numbers().apply(tf.data.experimental.assert_cardinality(10)),
    "windows of a series": lambda: keras.utils.timeseries_dataset_from_array(
        np.arange(20.0).reshape(10, 2), np.arange(10), 3, batch_size=None
    ),
    "batched and single again": lambda: _pairs().batch(4).prefetch(1).unbatch(),
    "batched without the rest": lambda: _numbers().batch(4, drop_remainder=True).unbatch(),
    "a table": lambda: _numbers().map(_looked_up()),
}


def _looked_up():
    keys = tf.lookup.KeyValueTensorInitializer(tf.range(30, dtype=tf.int64), tf.range(30) * 5)
    table = tf.lookup.StaticHashTable(keys, -1)
    return lambda number: table.lookup(number)


@pytest.mark.parametrize("name", CHAINS)
def test_a_record_by_its_number_is_the_one_that_reading_gives(name):
    dataset = CHAINS[name]()
    found = collection_of(dataset)
    expected = list(dataset)
    if name == "take more than there is":  # skip(-1) leaves nothing of the first
        assert len(expected) == 10
    assert found.num_records == len(expected)
    records = tf.data.Dataset.range(len(expected)).map(found.at)
    tf.nest.assert_same_structure(records.element_spec, dataset.element_spec)
    for ours, theirs in zip(records, expected, strict=True):
        for one, other in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "dataset",
    [
        lambda: _numbers().filter(lambda n: n > 5),
        lambda: _numbers().cache(),
        lambda: _numbers().repeat(),
        lambda: _numbers().shuffle(4, seed=1).take(3),
        lambda: tf.data.Dataset.zip((_numbers().shuffle(4, seed=1), _numbers())),
        lambda: _numbers().interleave(lambda n: tf.data.Dataset.from_tensors(n)),
        lambda: _numbers().batch(2).map(lambda pair: pair[::-1]).unbatch(),
        lambda: tf.data.Dataset.from_generator(
            lambda: iter([1]), output_signature=tf.TensorSpec([], tf.int64)
        ),
        lambda: _numbers().apply(tf.data.experimental.assert_cardinality(9)),
    ],
)
def test_what_only_reading_gives_is_left_alone(dataset):
    assert collection_of(dataset()) is None


def test_an_endless_repeat_of_training_is_what_it_repeats():
    endless = _numbers().shuffle(4, seed=1).repeat().map(_doubled).prefetch(1)
    assert collection_of(endless) is None
    assert collection_of(endless, once=True).num_records == 10
    found = classified("mine", endless, None, once=True)
    assert (found.num_examples, found.is_infinite) == (10, False)
    # A repeat that something is taken of has a meaning of its own.
    assert collection_of(_numbers().repeat().take(15), once=True).num_records == 15


def test_a_shuffle_before_maps_is_left_to_the_order_of_training():
    found = collection_of(_numbers().shuffle(4, seed=1).map(_doubled).prefetch(1))
    assert [int(found.at(tf.constant(n, tf.int64))) for n in range(3)] == [6, 10, 14]


def test_another_order_or_other_contents_have_another_checksum():
    def checksum(*values):
        return collection_of(tf.data.Dataset.from_tensor_slices(list(values)).skip(1)).checksum

    assert checksum(1, 2, 3) == checksum(1, 2, 3)
    assert len({checksum(1, 2, 3), checksum(1, 3, 2), checksum(1, 2, 3, 4)}) == 3
    taken = [collection_of(_numbers().skip(skipped)).checksum for skipped in (0, 1)]
    assert taken[0] != taken[1]


def test_the_last_maps_of_a_stream_are_for_own_records_alone():
    made = []

    def heavy(number):
        made.append(int(number))
        return number

    def load():
        numbers = tf.data.Dataset.from_generator(
            lambda: range(12), output_signature=tf.TensorSpec([], tf.int64)
        )
        heavily = numbers.map(lambda n: tf.ensure_shape(tf.numpy_function(heavy, [n], n.dtype), []))
        return heavily.map(lambda n: (n, n * 2)).prefetch(1)

    raw, functions = last_maps(load())
    assert len(functions) == 2
    found = classified("mine", load(), None)
    assert isinstance(found, Stream)
    assert not made  # what tells the stream from others is its raw records
    places = found.training_places(Sharding(4, 2, 1, 1), seed=0)
    taken = places.elements.map(places.fetch).take(6)
    seen = [int(record[0]) for record, _, _ in taken]
    assert sorted(seen) == sorted(made)
    assert len(made) == 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("cats", "dogs"):
        (folder / name).mkdir()
        for number in range(10):
            grey = np.full((8, 8, 3), number * 10 + (name == "dogs"), np.uint8)
            Image.fromarray(grey).save(folder / name / f"{number}.png")
    return folder


def test_of_a_folder_of_images_each_worker_decodes_its_own(pictures):
    dataset = keras.utils.image_dataset_from_directory(
        pictures, batch_size=None, image_size=(8, 8), verbose=False
    )
    found = classified("mine", dataset, None)
    assert isinstance(found, Indexed)
    assert found.num_examples == 20
    # Names and labels are held, and no picture.
    assert [leaf.shape.rank for leaf in tf.nest.flatten(found.collection.spec)] == [0, 0]
    seen = []
    for worker in range(2):
        sharding = Sharding(10, 2, worker, 1)
        places = found.training_places(sharding, seed=0)
        for record, _, _ in places.elements.map(places.fetch).take(2 * sharding.worker_batch):
            image, label = record
            assert int(image[0, 0, 0]) % 10 == int(label)
            seen.append(int(image[0, 0, 0]))
    assert len(set(seen)) == 20


def test_tfrecord_and_text_files_are_reached_by_an_index(tmp_path):
    for name in "ab":
        with tf.io.TFRecordWriter(str(tmp_path / f"{name}.tfrecord")) as writer:
            for number in range(3):
                writer.write(f"{name}{number}".encode())
        (tmp_path / f"{name}.txt").write_text("one\ntwo\r\nthree")
    for kind, make in (("tfrecord", tf.data.TFRecordDataset), ("txt", tf.data.TextLineDataset)):
        files = [str(tmp_path / f"{name}.{kind}") for name in "ab"]
        dataset = make(files).map(tf.strings.upper)
        found = collection_of(dataset)
        ours = [found.at(tf.constant(n, tf.int64)).numpy() for n in range(found.num_records)]
        assert ours == list(dataset.as_numpy_iterator())
        assert [file.path for file in found.files] == files
        names = tf.data.Dataset.from_tensor_slices(files)
        for spelled in (
            names.interleave(make, cycle_length=2),
            names.interleave(make, num_parallel_calls=2, deterministic=False),
            names.flat_map(lambda name, make=make: make([name])),
            tf.data.Dataset.list_files(str(tmp_path / f"*.{kind}"), shuffle=False).flat_map(make),
        ):
            assert collection_of(spelled).num_records == 6
        for more in (
            names.interleave(lambda name, make=make: make(name).skip(1)),
            names.flat_map(lambda name, make=make: make(name, compression_type="ZLIB")),
            names.flat_map(lambda name, make=make: make(name + ".old")),
            tf.data.Dataset.from_tensor_slices(files[::-1]).flat_map(make),
        ):
            assert collection_of(more) is None
        assert collection_of(make(files[::-1])) is None  # an order of its own stays
        assert collection_of(make(files, compression_type="GZIP")) is None


# Batches.


@pytest.mark.parametrize(
    ("records", "has_preprocess", "size"),
    [
        (lambda: _pairs().batch(4), True, 4),
        (lambda: _pairs().batch(4).map(lambda one: (one["x"], one["y"])), False, 4),
        (lambda: _pairs().batch(4).map(lambda one: (one["x"], one["y"])).prefetch(1), True, 4),
        (lambda: _numbers().batch(4).map(lambda window: window[-1]), True, 0),
        (lambda: _numbers().batch(4).map(lambda window: (window[:-1], window[-1])), False, 0),
        (lambda: _numbers().batch(4).map(lambda window: window * 2), True, 0),
        (lambda: _numbers().batch(4).unbatch(), False, 0),
        (
            lambda: keras.utils.timeseries_dataset_from_array(
                np.zeros((20, 2)), np.zeros(20), 3, batch_size=5
            ),
            False,
            5,
        ),
    ],
)
def test_batches_are_told_from_records_by_what_comes_out(records, has_preprocess, size):
    assert batch_of(records(), has_preprocess=has_preprocess) == size


# Order.


@pytest.mark.parametrize(
    "records",
    [
        lambda: _generated(lambda: np.random.default_rng().permutation(50)),
        lambda: _generated(lambda: range(50)).shuffle(50, seed=1),
    ],
)
def test_a_stream_that_is_another_one_each_time_is_refused(records):
    with pytest.raises(ConfigError, match="in another order, or others, each time it is read"):
        classified("mine", records(), None)


def _generated(numbers):
    return tf.data.Dataset.from_generator(
        lambda: iter(numbers()), output_signature=tf.TensorSpec([], tf.int64)
    )
