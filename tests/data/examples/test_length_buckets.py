"""Examples of different size: padded to one size, or to that of their bucket."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.examples.length_buckets import bucketed
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError

STRATEGY = tf.distribute.get_strategy()
LENGTHS = [1 + (7 * k) % 12 for k in range(53)]
BATCH = 4


def _load(split):
    """Words 1, 2, ... of each sentence, and its number."""
    rows = tf.ragged.range(1, tf.constant(LENGTHS) + 1)
    texts = tf.strings.reduce_join(tf.strings.as_string(rows), -1, separator=" ")
    return tf.data.Dataset.from_tensor_slices({"text": texts, "number": np.arange(53)})


def _words(record):
    return tf.strings.to_number(tf.strings.split(record["text"]), tf.int32)


def _preprocess(record, training):
    return _words(record), record["number"]


def _tagged(record, training):
    words = _words(record)
    return words, words % 2


def _file(preprocess=_preprocess, **attributes):
    made = {"num_classes": None, **attributes}
    return read_dataset_file(
        SimpleNamespace(__name__="mine", load=_load, preprocess=preprocess, **made)
    )


BUCKETS = {
    "bucket_boundaries": (4, 8, 12),
    "element_length": lambda record: tf.size(tf.strings.split(record["text"])),
}


def _source(file):
    source = source_of(file, "train")
    return bucketed(file, source) if file.bucket_boundaries else source


@tf.autograph.experimental.do_not_convert
def _steps(file, workers, steps, first_step=0, seed=2):
    """Of each step: the numbers of its sentences, and their common length."""
    found = [([], set()) for _ in range(steps)]
    for worker in range(workers):
        made = training_input(
            file, _source(file), Sharding(BATCH, workers, worker, 1), STRATEGY, seed=seed
        )
        made.seek(first_step)
        made.start()
        for numbers, sizes in found:
            words, number = next(made.iterator)[:2]
            numbers += number.numpy().tolist()
            sizes.add(words.shape[1])
            expected = [LENGTHS[one] for one in number.numpy()]
            assert tf.reduce_sum(tf.cast(words > 0, tf.int32), 1).numpy().tolist() == expected
    return found


def test_all_examples_are_padded_to_the_sizes_of_the_file():
    file = _file(padded_shapes=((12,), ()))
    made = training_input(file, _source(file), Sharding(BATCH, 1, 0, 1), STRATEGY, seed=0)
    assert made.spec == (tf.TensorSpec([4, 12], tf.int32), tf.TensorSpec([4], tf.int64))
    assert {size for _, sizes in _steps(file, 1, 13) for size in sizes} == {12}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_batch_has_one_bucket_and_is_the_same_on_any_number_of_workers(workers):
    file = _file(**BUCKETS)
    alone = _steps(file, 1, 12)
    for numbers, sizes in alone:
        (size,) = sizes
        assert {min(end for end in (4, 8, 12) if LENGTHS[one] <= end) for one in numbers} == {size}
    assert len({size for _, sizes in alone for size in sizes}) == 3
    seen = [number for numbers, _ in alone for number in numbers]
    assert len(set(seen)) == len(seen) == 48
    assert _steps(file, workers, 6, first_step=4) == alone[4:10]


def test_the_next_epoch_has_another_order_and_as_many_batches():
    file = _file(**BUCKETS)
    source = _source(file)
    steps = source.training_steps(Sharding(BATCH, 1, 0, 1))
    assert steps == sum(
        sum(low < length <= low + 4 for length in LENGTHS) // BATCH for low in (0, 4, 8)
    )
    assert _steps(file, 1, steps) != _steps(file, 1, steps, first_step=steps)


def test_an_evaluation_pads_all_examples_to_the_largest_bucket():
    file = _file(**BUCKETS)
    made = evaluation_input(file, _source(file), Sharding(BATCH, 1, 0, 1), STRATEGY)
    assert made.spec[0] == tf.TensorSpec([4, 12], tf.int32)
    made.start()
    seen = []
    for _ in range(made.steps):
        index, (words, number) = next(made.iterator)
        real = index.numpy() >= 0
        seen += number.numpy()[real].tolist()
        assert words.shape == (4, 12)
    assert sorted(seen) == list(range(53))


def test_labels_of_a_sequence_are_weighed_so_that_padding_counts_nowhere():
    file = _file(_tagged, padded_shapes=((12,), (12,)), padding_values=(0, -1))
    made = training_input(file, _source(file), Sharding(BATCH, 1, 0, 1), STRATEGY, seed=0)
    made.start()
    words, tags, weights = next(made.iterator)
    np.testing.assert_array_equal(weights, tf.cast(words > 0, tf.float32))
    np.testing.assert_array_equal(tags, tf.where(words > 0, words % 2, -1))
    np.testing.assert_array_equal(made.first[2], tf.cast(made.first[0] > 0, tf.float32))


def test_the_plan_says_how_many_records_are_in_which_bucket():
    counts = [sum(low < length <= low + 4 for length in LENGTHS) for low in (0, 4, 8)]
    assert (
        f"in buckets by length ({counts[0]} to 4, {counts[1]} to 8, {counts[2]} to 12)"
        in _source(_file(**BUCKETS)).describe(Sharding(BATCH, 1, 0, 1))
    )


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"padded_shapes": ((3,), ())}, "is larger than what it is padded to"),
        ({"padded_shapes": ((12, 2), ())}, "which don't fit its examples"),
        ({"padded_shapes": (12,)}, "which don't fit its examples"),
        ({"padded_shapes": ((12,), ()), "padding_values": (1, 2, 3)}, "one value for each tensor"),
        ({"bucket_boundaries": (8, 4)}, "expected rising whole numbers"),
        ({"bucket_boundaries": (4, 8)}, "but no element_length"),
        ({**BUCKETS, "bucket_boundaries": (4, 8)}, "has the length 12; expected at most the last"),
    ],
)
def test_what_does_not_fit_is_refused(attributes, reason):
    with pytest.raises(ConfigError, match=reason):
        file = _file(**attributes)
        training_input(file, _source(file), Sharding(BATCH, 1, 0, 1), STRATEGY, seed=0)


def test_buckets_need_an_index():
    file = _file(**BUCKETS)
    stream = _load("train").filter(lambda record: True)
    file = read_dataset_file(
        SimpleNamespace(
            __name__="mine", load=lambda split: stream, preprocess=_preprocess, **BUCKETS
        )
    )
    with pytest.raises(ConfigError, match="expected records that are reached by an index"):
        _source(file)
