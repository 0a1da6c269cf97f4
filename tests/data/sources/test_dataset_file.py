from types import SimpleNamespace

import pytest
import tensorflow as tf

from tfscale.data.sources.dataset_file import TASKS, load_split, read_dataset_file
from tfscale.errors import ConfigError


def _records(split=""):
    return tf.data.Dataset.range(6)


def _module(**attributes):
    return SimpleNamespace(**{"load": _records, "__name__": "mine", **attributes})


def _refusal(call, *args):
    with pytest.raises(ConfigError) as caught:
        call(*args)
    return str(caught.value)


def _load(load, split="train"):
    return load_split(read_dataset_file(_module(load=load)), split)


def test_a_function_that_loads_is_all_that_a_dataset_needs():
    file = read_dataset_file(_module())
    assert file.name == "mine"
    assert (file.preprocess, file.read, file.num_classes, file.class_weight) == (None,) * 4
    assert file.task == "classification"
    assert file.splits == ("train", "validation")
    assert not file.preprocess_takes_seed


def test_everything_that_a_file_may_say_is_read(tmp_path):
    path = tmp_path / "flowers.py"
    path.write_text(
        "import tensorflow as tf\n"
        "size = 4\n"
        "num_classes = 5\n"
        "task = 'multilabel'\n"
        "splits = ['train', 'test']\n"
        "class_weight = {0: 2.0}\n"
        "def load(split):\n"
        "    return tf.data.Dataset.range(size)\n"
        "def preprocess(record, training, seed):\n"
        "    return record, record\n"
        "def read(record):\n"
        "    return tf.data.Dataset.from_tensors(record)\n"
    )
    file = read_dataset_file(str(path), ("size=9",))
    assert file.name == str(path)
    assert file.num_classes == 5
    assert file.task == "multilabel"
    assert file.splits == ("train", "test")
    assert file.class_weight == {0: 2.0}
    assert file.preprocess_takes_seed
    assert file.read is not None
    assert int(load_split(file, "train").cardinality()) == 9


def test_a_preprocess_of_two_parameters_wants_no_seed():
    assert not read_dataset_file(
        _module(preprocess=lambda record, training: record)
    ).preprocess_takes_seed


def test_a_file_that_cannot_load_is_refused():
    assert "has no function `load`" in _refusal(read_dataset_file, SimpleNamespace())


@pytest.mark.parametrize("name", ["preprocess", "read"])
def test_what_should_be_a_function_has_to_be_one(name):
    assert f"`{name}` = 3, which is no function" in _refusal(
        read_dataset_file, _module(**{name: 3})
    )


@pytest.mark.parametrize("name", ["preprocess", "read"])
def test_a_function_that_is_none_counts_as_left_out(name):
    assert getattr(read_dataset_file(_module(**{name: None})), name) is None


def test_an_unknown_task_is_refused_with_the_known_ones():
    message = _refusal(read_dataset_file, _module(task="clasification"))
    assert "task = 'clasification'" in message
    assert all(task in message for task in TASKS)


@pytest.mark.parametrize("splits", [(), ("validation", "train"), "train"])
def test_splits_that_do_not_start_with_training_are_refused(splits):
    message = _refusal(read_dataset_file, _module(splits=splits))
    assert 'expected "train" first' in message
    assert '("train", "validation", "test")' in message


def test_a_split_that_does_not_exist_is_none():
    assert _load(lambda split: None, "validation") is None


def test_a_train_split_that_does_not_exist_is_refused():
    assert "load('train') returned NoneType" in _refusal(_load, lambda split: None)


def test_what_load_raised_is_told_in_one_line_with_its_split():
    def load(split):
        raise FileNotFoundError("no\nfolder /data")

    assert _refusal(_load, load) == (
        "mine: load('train') raised FileNotFoundError: no folder /data"
    )


def test_a_split_that_load_does_not_know_is_told_with_what_to_do():
    names = {"train": tf.data.Dataset.range(4)}
    with pytest.raises(ConfigError) as caught:
        _load(lambda split: names[split], "validation")
    assert "load('validation') knows no split of that name" in str(caught.value)
    assert "Return None for it, or leave 'validation' out of splits" in str(caught.value)


@pytest.mark.parametrize("given", [[1, 2], (tf.data.Dataset.range(1), 2), 3])
def test_something_else_than_a_dataset_is_refused_with_how_to_make_one(given):
    message = _refusal(_load, lambda split: given)
    assert f"returned {type(given).__name__}; expected a tf.data.Dataset" in message
    assert "from_tensor_slices" in message


@pytest.mark.parametrize(
    "after",
    [
        lambda batches: batches,
        lambda batches: batches.prefetch(1),
        lambda batches: batches.cache(),
        lambda batches: batches.repeat(2),
        lambda batches: batches.shuffle(2, seed=1),
        lambda batches: batches.take(1),
        lambda batches: batches.skip(1),
        lambda batches: batches.shard(2, 0),
        lambda batches: batches.with_options(tf.data.Options()),
        lambda batches: batches.shuffle(2, seed=1).repeat(2).prefetch(1),
    ],
)
def test_batches_are_refused_whatever_comes_after_them(after):
    message = _refusal(_load, lambda split: after(_records().batch(2)))
    assert "yields batches" in message
    assert "Remove .batch(...)" in message


@pytest.mark.parametrize(
    "batch",
    [
        lambda records: records.batch(2, num_parallel_calls=2),
        lambda records: records.padded_batch(2),
        lambda records: records.batch(2, drop_remainder=True),
    ],
)
def test_every_kind_of_batch_is_refused(batch):
    assert "yields batches" in _refusal(_load, lambda split: batch(_records()))


@pytest.mark.parametrize(
    "records",
    [
        lambda: _records().batch(2).map(tf.reduce_sum),
        lambda: _records().batch(2).unbatch(),
        lambda: _records().shuffle(3, seed=1).prefetch(1),
    ],
)
def test_single_records_are_taken_even_if_they_were_once_in_batches(records):
    assert _load(lambda split: records()) is not None


def test_an_empty_split_is_refused():
    message = _refusal(_load, lambda split: _records().take(0))
    assert "load('train') is empty; expected at least one record" in message


def test_preprocess_and_read_may_branch_on_tensors():
    def preprocess(record, training):
        if record > 1:
            return record * 10
        return record

    def read(name):
        if tf.strings.length(name) > 1:
            count = 2
        else:
            count = 1
        return tf.data.Dataset.from_tensors(name).repeat(tf.cast(count, tf.int64))

    file = read_dataset_file(
        SimpleNamespace(load=lambda split: None, preprocess=preprocess, read=read)
    )
    unconverted = tf.autograph.experimental.do_not_convert
    examples = tf.data.Dataset.range(4).map(unconverted(lambda n: file.preprocess(n, True)))
    assert [int(example) for example in examples] == [0, 1, 20, 30]
    names = tf.data.Dataset.from_tensor_slices(["a", "bb"])
    assert len(list(names.flat_map(unconverted(lambda name: file.read(name))))) == 3
