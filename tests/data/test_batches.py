from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops

from tfscale.data import batching, feed
from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.feed import next_of
from tfscale.data.sharding import Sharding, shuffled
from tfscale.data.sources import streams
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError

SIZE = 23
BATCH = 8
SHAPES = [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2)]  # workers, devices of each
ONE_DEVICE = tf.distribute.OneDeviceStrategy("CPU:0")


@pytest.fixture(autouse=True)
def _small_shuffle_buffer(monkeypatch):
    # A generator of numbers would have to fill the usual one first.
    monkeypatch.setattr(streams, "_SHUFFLE_BUFFER", 64)


def _numbers(split="train", size=SIZE):
    """Records that are their own number, and examples of which x tells which record it was."""
    return tf.data.Dataset.range(size)


def _as_example(record, training):
    return tf.stack([tf.cast(record, tf.float32), 0.5]), record % 3


def _file(load=_numbers, preprocess=_as_example, **attributes):
    return read_dataset_file(
        SimpleNamespace(__name__="mine", load=load, preprocess=preprocess, **attributes)
    )


def _stream(split="train", size=SIZE):
    """The same records from a generator, of which nobody knows how many there are."""
    return tf.data.Dataset.from_generator(
        lambda: range(size), output_signature=tf.TensorSpec([], tf.int64)
    )


def _input(make, file, *, strategy=None, **settings):
    defaults = {"batch": BATCH, "workers": 1, "worker": 0, "devices": 1}
    sharding = Sharding(*(settings.pop(name, default) for name, default in defaults.items()))
    source = source_of(file, "train")
    return make(file, source, sharding, strategy or tf.distribute.get_strategy(), **settings)


def _training(file, *, seed=0, **settings):
    return _input(training_input, file, seed=seed, **settings)


def _evaluation(file, **settings):
    return _input(evaluation_input, file, **settings)


def _take(given, count):
    """The next batches of one worker, replica by replica."""
    given.start()
    return [next(given.iterator) for _ in range(count)]


def _steps(make, file, steps, *, workers, devices, **settings):
    """Every replica batch of the job as [step][replica], in the order of the replicas' ids."""
    by_worker = [
        _take(
            make(file, workers=workers, worker=worker, devices=devices, **settings), steps * devices
        )
        for worker in range(workers)
    ]
    return [
        [
            by_worker[worker][step * devices + device]
            for worker in range(workers)
            for device in range(devices)
        ]
        for step in range(steps)
    ]


def _global_batches(*args, **settings):
    """Each step's examples as one batch, as one worker with one device would have it."""
    return [
        tf.nest.map_structure(lambda *parts: np.concatenate(parts), *step)
        for step in _steps(*args, **settings)
    ]


def _ids(batch):
    return [int(number) for number in batch[0][:, 0]]


# Training.


@pytest.mark.promise("order")
@pytest.mark.parametrize(("workers", "devices"), SHAPES)
def test_a_step_has_the_same_examples_in_the_same_order_whatever_the_workers_are(workers, devices):
    alone = _global_batches(_training, _file(), 5, workers=1, devices=1)
    together = _global_batches(_training, _file(), 5, workers=workers, devices=devices)
    for ours, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours[0], expected[0])
        np.testing.assert_array_equal(ours[1], expected[1])


def test_steps_follow_the_one_global_order():
    steps = _global_batches(_training, _file(), 4, workers=2, devices=1, seed=5)
    for number, batch in enumerate(steps):
        positions = tf.range(number * BATCH, (number + 1) * BATCH, dtype=tf.int64)
        index, _ = shuffled(positions, num_examples=SIZE, global_batch=BATCH, seed=5)
        assert _ids(batch) == list(index.numpy())


def test_every_replica_gets_batches_of_the_promised_shape():
    given = _training(_file(), workers=2, worker=1, devices=2)
    assert given.spec == (tf.TensorSpec([2, 2], tf.float32), tf.TensorSpec([2], tf.int64))
    for batch in _take(given, 6):
        assert [leaf.shape.as_list() for leaf in batch] == [[2, 2], [2]]
    assert given.iterator.element_spec == given.spec


def test_features_and_label_of_an_example_stay_together():
    for batch in _take(_training(_file()), 5):
        np.testing.assert_array_equal(batch[0][:, 0] % 3, batch[1])


def test_an_epoch_has_as_many_steps_as_there_are_whole_batches_and_no_example_twice():
    given = _training(_file())
    assert (given.steps, given.num_examples, given.is_evaluation) == (2, SIZE, False)
    for _ in range(3):
        seen = [number for batch in _take(given, given.steps) for number in _ids(batch)]
        assert len(set(seen)) == len(seen) == 16


def test_steps_of_an_epoch_may_be_given():
    assert _training(_file(), steps_per_epoch=7).steps == 7


def test_another_seed_is_another_order():
    first, second = (_ids(_take(_training(_file(), seed=seed), 1)[0]) for seed in (0, 1))
    assert first != second


def test_training_never_ends():
    assert len(_take(_training(_file(), batch=SIZE), 40)) == 40


def test_an_iterator_goes_on_where_it_is_until_it_is_rewound():
    given = _training(_file())
    first, second = (_ids(_take(given, 1)[0]) for _ in range(2))
    assert first != second
    given.rewind()
    assert _ids(_take(given, 1)[0]) == first


def test_records_that_are_examples_need_no_preprocess():
    def load(split):
        x = np.arange(SIZE, dtype=np.float32)[:, None]
        return tf.data.Dataset.from_tensor_slices((x, np.arange(SIZE)))

    plain = _global_batches(_training, _file(load, None), 4, workers=2, devices=1)
    made = _global_batches(_training, _file(), 4, workers=1, devices=1)
    for ours, expected in zip(plain, made, strict=True):
        assert _ids(ours) == _ids(expected)
        np.testing.assert_array_equal(ours[0][:, 0], ours[1])


def test_examples_may_have_structure():
    def preprocess(record, training):
        weight = tf.constant(0.5)
        return {"a": record, "b": (record, tf.as_string(record))}, {"c": record}, {"c": weight}

    (batch,) = _take(_training(_file(preprocess=preprocess)), 1)
    x, y, weight = batch
    np.testing.assert_array_equal(x["a"], y["c"])
    np.testing.assert_array_equal(x["b"][1].numpy().astype(int), x["a"])
    np.testing.assert_array_equal(weight["c"], [0.5] * BATCH)


def test_a_label_or_weight_may_be_a_plain_number():
    file = _file(preprocess=lambda record, training: (record, 1, 0.5))
    for _, label, weight in _take(_training(file), 2):
        assert (label.dtype, weight.dtype) == (tf.int32, tf.float32)
        assert (set(label.numpy()), set(weight.numpy())) == ({1}, {0.5})


def test_preprocess_knows_what_it_is_for():
    def preprocess(record, training):
        return tf.cast(training, tf.float32), record

    assert set(_take(_training(_file(preprocess=preprocess)), 1)[0][0].numpy()) == {1.0}
    _, example = _take(_evaluation(_file(preprocess=preprocess)), 1)[0]
    assert set(example[0].numpy()) == {0.0}


def _augmented(record, training, seed):
    noise = tf.random.stateless_uniform([], seed)
    return tf.stack([tf.cast(record, tf.float32), noise]), record


@pytest.mark.parametrize(("workers", "devices"), SHAPES)
def test_augmentation_is_the_same_whatever_the_workers_are(workers, devices):
    file = _file(preprocess=_augmented)
    alone = _global_batches(_training, file, 5, workers=1, devices=1)
    together = _global_batches(_training, file, 5, workers=workers, devices=devices)
    for ours, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours[0], expected[0])


def test_augmentation_differs_from_example_to_example_and_from_epoch_to_epoch():
    file = _file(lambda split: _numbers(size=BATCH), preprocess=_augmented)
    noise = {}
    for epoch, batch in enumerate(_take(_training(file), 3)):
        noise |= {(epoch, int(number)): float(value) for number, value in batch[0].numpy()}
    assert len(noise) == 3 * BATCH
    assert len(set(noise.values())) == 3 * BATCH


def test_class_weights_are_part_of_training_and_not_of_evaluation():
    file = _file(class_weight={0: 4.0})
    given = _training(file)
    assert given.spec[2] == tf.TensorSpec([BATCH], tf.float32)
    for _, label, weight in _take(given, 3):
        np.testing.assert_array_equal(weight, np.where(label.numpy() == 0, 4.0, 1.0))
    _, example = _take(_evaluation(file), 1)[0]
    assert len(example) == 2


def test_records_of_different_shapes_can_be_trained_on_by_their_number():
    def load(split):
        rows = tf.ragged.constant([[k] * (k % 4 + 1) for k in range(SIZE)], tf.int64)
        return tf.data.Dataset.range(SIZE).map(lambda number: rows[number])

    def preprocess(record, training):
        return tf.stack([tf.cast(record[0], tf.float32), 0.5]), tf.shape(record)[0]

    batches = _global_batches(_training, _file(load, preprocess), 2, workers=2, devices=1)
    assert [_ids(batch) for batch in batches] == [
        _ids(batch) for batch in _global_batches(_training, _file(), 2, workers=1, devices=1)
    ]
    for batch in batches:
        np.testing.assert_array_equal(batch[1], np.array(_ids(batch)) % 4 + 1)


# Evaluation.


def _seen(steps):
    """The example of each index, of every row that is no padding."""
    seen = []
    for step in steps:
        for index, example in step:
            rows = np.flatnonzero(index.numpy() >= 0)
            seen += [(int(index[row]), int(example[0][row, 0])) for row in rows]
    return seen


@pytest.mark.promise("evaluation")
@pytest.mark.parametrize(("workers", "devices"), SHAPES)
@pytest.mark.parametrize("size", [1, 7, 8, 9, SIZE])
def test_every_example_is_evaluated_exactly_once(workers, devices, size):
    file = _file(lambda split: _numbers(size=size))
    given = _evaluation(file, workers=workers, devices=devices)
    assert (given.steps, given.num_examples) == (-(-size // BATCH), size)
    assert given.is_evaluation
    steps = _steps(_evaluation, file, given.steps, workers=workers, devices=devices)
    assert _seen(steps) == [(number, number) for number in range(size)]


def test_padded_rows_have_the_index_minus_1_and_the_shape_of_the_others():
    index, example = _take(_evaluation(_file(), workers=4, worker=3), 3)[-1]
    assert index.dtype == tf.int64
    assert list(index.numpy()) == [22, -1]
    assert [leaf.shape.as_list() for leaf in example] == [[2, 2], [2]]


def test_a_second_evaluation_sees_the_same_again():
    given = _evaluation(_file())
    first, second = ([_take(given, given.steps)] for _ in range(2))
    assert _seen(first) == _seen(second)
    assert len(_seen(first)) == SIZE


def test_an_evaluation_that_was_stopped_starts_over_once_it_is_rewound():
    given = _evaluation(_file())
    _take(given, 1)
    given.rewind()
    assert _seen([_take(given, given.steps)])[0] == (0, 0)


@pytest.mark.parametrize("examples", [1, 2, 3])
def test_what_is_only_predicted_needs_no_label(examples):
    leaves = tuple(np.arange(SIZE) for _ in range(examples))
    file = _file(lambda split: tf.data.Dataset.from_tensor_slices(leaves), None)
    assert len(_evaluation(file).spec) == examples


# Streams.


def _seen_of_stream(workers, devices, size):
    file = _file(lambda split: _stream(size=size))
    steps = size // BATCH + 3  # more than enough, whoever has which record
    return _steps(_evaluation, file, steps, workers=workers, devices=devices)


@pytest.mark.promise("evaluation")
@pytest.mark.parametrize(("workers", "devices"), SHAPES)
@pytest.mark.parametrize("size", [3, 16, SIZE])
def test_every_example_of_a_stream_is_evaluated_exactly_once(workers, devices, size):
    seen = _seen(_seen_of_stream(workers, devices, size))
    assert sorted(number for _, number in seen) == list(range(size))
    assert len({index for index, _ in seen}) == size


def test_a_stream_goes_on_with_padding_when_it_has_ended():
    given = _evaluation(_file(_stream))
    assert (given.steps, given.num_examples) == (None, None)
    index, example = _take(given, 6)[-1]
    assert list(index.numpy()) == [-1] * BATCH
    assert example[0].shape == [BATCH, 2]


def test_texts_of_a_stream_can_be_padded():
    file = _file(_stream, lambda record, training: (tf.as_string(record), record))
    index, (text, _) = _take(_evaluation(file), 3)[-1]
    assert list(text.numpy()[index.numpy() < 0]) == [b""]


def test_a_stream_has_to_be_told_how_long_an_epoch_is():
    with pytest.raises(ConfigError) as caught:
        _training(_file(_stream))
    assert "mine: load('train') doesn't say how many examples it has" in str(caught.value)
    assert "--steps_per_epoch=1000" in str(caught.value)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_a_stream_without_an_example_twice_in_a_pass(workers):
    size = 4 * BATCH
    file = _file(lambda split: _stream(size=size))
    assert _training(file, steps_per_epoch=4).steps == 4
    alone = _global_batches(_training, file, 8, workers=1, devices=1, steps_per_epoch=4)
    steps = _global_batches(_training, file, 8, workers=workers, devices=1, steps_per_epoch=4)
    for ours, expected in zip(steps, alone, strict=True):
        assert sorted(_ids(ours)) == sorted(_ids(expected))
    for first in (0, 4):  # each pass has every example once
        seen = [number for step in steps[first : first + 4] for number in _ids(step)]
        assert sorted(seen) == list(range(size))


def _ids_of_worker(batch, worker, workers):
    share = BATCH // workers
    return _ids(batch)[worker * share : (worker + 1) * share]


@pytest.mark.promise("order")
def test_a_stream_is_shuffled_in_an_order_of_the_seed():
    file = _file(_stream)

    def order(seed):
        batches = _take(_training(file, seed=seed, steps_per_epoch=4), 3)
        return [number for batch in batches for number in _ids(batch)]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != sorted(order(0))


def test_a_split_that_never_ends_cannot_be_evaluated():
    with pytest.raises(ConfigError, match=r"mine: load\('train'\) never ends.*Add .take"):
        _evaluation(_file(lambda split: _stream().repeat()))


def test_a_small_stream_is_seen_as_a_whole_before_it_starts_again():
    file = _file(lambda split: _stream(size=2 * BATCH))
    given = _training(file, steps_per_epoch=2)
    for _ in range(3):
        seen = [number for batch in _take(given, 2) for number in _ids(batch)]
        assert sorted(seen) == list(range(2 * BATCH))


# Files.


def _reading(file_sizes, **attributes):
    """A dataset of files, each of which holds some of the numbers that go on from file to file."""
    starts = np.cumsum([0, *file_sizes[:-1]])

    def load(split):
        return tf.data.Dataset.from_tensor_slices({"start": starts, "size": file_sizes})

    def read(record):
        start = tf.cast(record["start"], tf.int64)
        return tf.data.Dataset.range(start, start + tf.cast(record["size"], tf.int64))

    return _file(load, read=read, **attributes)


@pytest.mark.promise("evaluation")
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("file_sizes", [[5, 5, 5, 5, 3], [9, 1, 0, 13], [23]])
def test_every_example_in_the_files_is_evaluated_exactly_once(workers, file_sizes):
    # With one file for several workers each of them takes every n-th of its records.
    steps = _steps(_evaluation, _reading(file_sizes), 8, workers=workers, devices=1)
    seen = _seen(steps)
    assert sorted(number for _, number in seen) == list(range(SIZE))
    assert len({index for index, _ in seen}) == SIZE


def test_files_have_to_be_told_how_long_an_epoch_is():
    with pytest.raises(ConfigError, match="--steps_per_epoch=1000"):
        _training(_reading([5, 5]))


def test_every_worker_trains_on_files_of_its_own_that_change_from_pass_to_pass():
    file = _reading([8, 8, 8, 8])
    steps = _global_batches(_training, file, 24, workers=2, devices=1, steps_per_epoch=4)
    assert {number for step in steps for number in _ids(step)} == set(range(32))


def test_workers_share_the_records_of_a_single_file():
    file = _reading([32])
    steps = _global_batches(_training, file, 8, workers=2, devices=1, steps_per_epoch=4)
    for first in (0, 4):
        seen = [number for step in steps[first : first + 4] for number in _ids(step)]
        assert sorted(seen) == list(range(32))


@pytest.mark.parametrize(("cores", "threads"), [(1, 2), (2, 2), (4, 4), (96, 96)])
def test_files_are_read_with_any_number_of_cores(monkeypatch, cores, threads):
    # TensorFlow refuses to read more files in parallel than it has open: 5 files, 96 cores.
    monkeypatch.setattr(batching, "num_cores", lambda: cores)
    given = _evaluation(_reading([5, 5, 5, 5, 3]))
    assert given.make(0).options().threading.private_threadpool_size == threads
    steps = _steps(_evaluation, _reading([5, 5, 5, 5, 3]), 8, workers=1, devices=1)
    assert len(_seen(steps)) == SIZE


def test_what_a_file_holds_may_need_no_preprocess():
    def read(record):
        return tf.data.Dataset.range(record, record + 4).map(lambda number: (number, number % 2))

    file = _file(lambda split: tf.data.Dataset.range(0, 12, 4), None, read=read)
    (batch,) = _take(_training(file, steps_per_epoch=1), 1)
    np.testing.assert_array_equal(batch[0] % 2, batch[1])


def test_files_that_are_not_listed_cannot_be_read():
    file = _file(_stream, read=lambda record: tf.data.Dataset.range(record, record + 4))
    with pytest.raises(ConfigError, match=r"must list its files for read\(\)"):
        _training(file, steps_per_epoch=1)


# Errors.


def _refusal(make, *args, **settings):
    with pytest.raises(ConfigError) as caught:
        make(*args, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("size", "devices", "advice"),
    [
        (7, 1, "Use a smaller batch, for example --batch_size=7."),
        (7, 2, "Use a smaller batch, for example --batch_size=6."),
        (3, 4, "Use at most 3 replicas, or more examples."),
    ],
)
def test_fewer_examples_than_a_batch_are_refused_with_a_batch_that_fits(size, devices, advice):
    message = _refusal(_training, _file(lambda split: _numbers(size=size)), devices=devices)
    assert f"has {size} examples, fewer than the 8 of one step on {devices} replicas" in message
    assert message.endswith(advice)


@pytest.mark.parametrize("make", [_training, _evaluation])
def test_an_empty_stream_is_refused(make):
    settings = {"steps_per_epoch": 3} if make is _training else {}
    message = _refusal(make, _file(lambda split: _stream(size=0)), **settings)
    assert message == "mine: load('train') is empty; expected at least one record."


@pytest.mark.parametrize(
    "preprocess",
    [lambda record, training: record, lambda record, training: {"x": record, "y": record}]
    + [lambda record, training: (record,), lambda record, training: (record,) * 4],
)
def test_something_else_than_an_example_is_refused(preprocess):
    message = _refusal(_training, _file(preprocess=preprocess))
    assert "mine: preprocess gives " in message
    assert "expected (x, y) or (x, y, sample_weight)" in message


def test_records_that_are_no_examples_are_refused_by_their_own_name():
    assert "mine: load('train') gives " in _refusal(_training, _file(preprocess=None))


def test_what_preprocess_raises_is_told_in_one_line_before_training():
    def preprocess(record, training):
        raise ValueError("no\ndecoder")

    message = _refusal(_training, _file(preprocess=preprocess))
    assert message.startswith("mine: preprocess raised ValueError: ")
    assert "decoder" in message


def test_what_fails_in_preprocess_as_it_runs_is_told_before_training():
    def preprocess(record, training):
        return tf.io.decode_png(tf.io.read_file("/no/such/image.png")), record

    message = _refusal(_training, _file(preprocess=preprocess))
    assert message.startswith("mine: preprocess raised NotFoundError: ")
    assert "/no/such/image.png" in message


@pytest.mark.parametrize("make", [_training, _evaluation])
def test_examples_whose_shapes_differ_are_refused_with_both_shapes(make):
    def preprocess(record, training):
        return tf.zeros([tf.where(record == 13, 5, 4), 2]), record

    given = make(_file(preprocess=preprocess))
    # Which example comes first differs, and so does the one that doesn't fit it.
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        _take(given, 20)
    text = " ".join(str(caught.value).split())
    assert "mine: preprocess gives examples whose shapes differ" in text
    assert "[4 2]" in text.replace(",", "") or "(4, 2)" in text
    assert "[5 2]" in text
    assert "13" in text
    assert "Resize or pad in preprocess" in text


def test_examples_whose_ranks_differ_are_refused_with_both_shapes():
    def preprocess(record, training):
        shape = tf.cond(record == 13, lambda: tf.constant([4, 2, 1]), lambda: tf.constant([4, 2]))
        return tf.zeros(shape), record

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        _take(_training(_file(preprocess=preprocess)), 20)
    text = " ".join(str(caught.value).split())
    assert "mine: preprocess gives examples whose shapes differ" in text
    assert "Resize or pad in preprocess" in text


# The plan.


def test_the_plan_says_what_each_worker_reads():
    assert _training(_file(), workers=2).description == (
        "23 records, in an order of seed and epoch alone; each worker reads 8 of them in an epoch, "
        "4 of the 8 of each step"
    )
    assert _training(_file(_stream), workers=2, steps_per_epoch=1).description == (
        "a stream that every worker reads as a whole, each prepares one in 2; "
        "shuffled within a buffer of 64 records (0.000488 MiB)"
    )
    assert "2 files; each worker reads 1 of its own, shuffled" in (
        _training(_reading([9, 9]), workers=2, steps_per_epoch=1).description
    )
    assert "a stream that every worker reads as a whole" in (
        _training(_reading([18]), workers=2, steps_per_epoch=1).description
    )


# What TensorFlow would add by itself.


@pytest.mark.parametrize("make", [_training, _evaluation])
def test_autotune_is_off_and_tensorflow_shards_nothing(make):
    options = make(_file()).make(0).options()
    assert options.autotune.enabled is False
    assert options.deterministic is True
    assert (
        options.experimental_distribute.auto_shard_policy
        == tf.data.experimental.AutoShardPolicy.OFF
    )


def test_an_input_is_made_by_threads_that_no_step_can_hold():
    for make in (_training, _evaluation):
        assert make(_file()).make(0).options().threading.private_threadpool_size >= 2


def _chain(dataset):
    """The kinds of a dataset and of all that it is made of."""
    return " ".join([type(dataset).__name__, *map(_chain, dataset._inputs())])


@pytest.fixture
def device_datasets(monkeypatch):
    """Every dataset that TensorFlow makes for a device, as it made it."""
    made = []
    original = multi_device_iterator_ops._create_device_dataset

    def remembered(*args):
        made.append(original(*args))
        return made[-1]

    monkeypatch.setattr(multi_device_iterator_ops, "_create_device_dataset", remembered)
    return made


def test_autotune_is_off_in_the_part_of_an_iterator_that_belongs_to_a_device(monkeypatch):
    started = []
    original = multi_device_iterator_ops.dataset_ops.DatasetV2.__iter__
    monkeypatch.setattr(
        tf.data.Dataset, "__iter__", lambda self: started.append(self) or original(self)
    )
    monkeypatch.setattr(feed, "_has_one_cpu", lambda strategy: False)  # as for a GPU
    given = _training(_file(), strategy=ONE_DEVICE)
    assert len(_take(given, 3)) == 3
    on_device = [dataset for dataset in started if "PerDevice" in _chain(dataset)]
    assert [dataset.options().autotune.enabled for dataset in on_device] == [False]


def test_tensorflow_still_autotunes_the_part_of_an_iterator_that_belongs_to_a_device(
    device_datasets,
):
    # When this fails, TensorFlow hands on our options and _no_autotune_on_devices can go.
    dataset = _training(_file()).make(0)
    iter(ONE_DEVICE.distribute_datasets_from_function(lambda _: dataset))
    assert dataset.options().autotune.enabled is False
    assert [made.options().autotune.enabled for made in device_datasets] == [None]


def test_the_function_of_tensorflow_comes_back_after_an_error_too():
    before = multi_device_iterator_ops._create_device_dataset
    with pytest.raises(KeyError), feed._no_autotune_on_devices():
        assert multi_device_iterator_ops._create_device_dataset is not before
        raise KeyError
    assert multi_device_iterator_ops._create_device_dataset is before


@pytest.mark.parametrize("has_one_cpu", [True, False])
def test_a_strategy_gets_the_same_batches_as_a_plain_iterator(monkeypatch, has_one_cpu):
    monkeypatch.setattr(feed, "_has_one_cpu", lambda strategy: has_one_cpu)
    plain = _take(_training(_file()), 4)
    distributed = _take(_training(_file(), strategy=ONE_DEVICE), 4)
    assert [_ids(batch) for batch in plain] == [_ids(batch) for batch in distributed]


def _in_a_loop(given, count):
    """The ids that steps see which TensorFlow loops over, and its operations that wait."""

    @tf.function(autograph=False)
    def take(iterator):
        def body(number, ids):
            own = ONE_DEVICE.experimental_local_results(next_of(iterator))[0]
            return number + 1, ids.write(number, own[0][:, 0])

        ids = tf.TensorArray(tf.float32, count, element_shape=[BATCH])
        _, ids = tf.while_loop(lambda number, _: number < count, body, (0, ids))
        return ids.stack()

    given.start()
    graph = take.get_concrete_function(given.iterator).graph.as_graph_def()
    waiting = {
        node.op
        for function in graph.library.function
        for node in function.node_def
        if "GetNext" in node.op
    }
    return take(given.iterator).numpy().astype(int).tolist(), waiting


@pytest.mark.parametrize("has_one_cpu", [True, False])
def test_a_loop_on_the_device_gets_the_same_batches(monkeypatch, has_one_cpu):
    expected = [_ids(batch) for batch in _take(_training(_file()), 5)]
    monkeypatch.setattr(feed, "_has_one_cpu", lambda strategy: has_one_cpu)
    found, waiting = _in_a_loop(_training(_file(), strategy=ONE_DEVICE), 5)
    assert found == expected
    assert (waiting == {"IteratorGetNextSync"}) == has_one_cpu


def test_an_input_has_one_iterator_for_the_whole_job():
    given = _training(_file())
    assert given.iterator is None
    given.start()
    first = given.iterator
    given.start()
    assert given.iterator is first
