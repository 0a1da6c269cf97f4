"""An example weighs what `model.fit(class_weight=...)` makes it weigh in plain Keras."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights
from keras.src.trainers.data_adapters.tf_dataset_adapter import make_class_weight_map_fn

from tfscale.data.class_weights import weight_function
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError

TABLE = {0: 0.25, 1: 4.0, 2: 1.5}
NUMBERS = np.array([0, 1, 2, 1, 3, 0, 2, 1])  # a class of its own is not in the table


def _file(class_weight, labels=NUMBERS, features=None, **attributes):
    size = len(tf.nest.flatten(labels)[0])
    features = np.arange(size, dtype="float32")[:, None] if features is None else features

    def load(split):
        return tf.data.Dataset.from_tensor_slices((features, labels, *attributes.get("given", ())))

    return read_dataset_file(
        SimpleNamespace(__name__="mine", load=load, class_weight=class_weight, **attributes)
    )


def _batch(class_weight, labels=NUMBERS, **attributes):
    """All examples, in one batch of training, sorted as they lie in the split."""
    file = _file(class_weight, labels, **attributes)
    source = source_of(file, "train")
    sharding = Sharding(source.num_examples, 1, 0, 1)
    made = training_input(file, source, sharding, tf.distribute.get_strategy(), seed=0)
    batch = next(iter(made.make(0)))
    for leaf, spec in zip(tf.nest.flatten(batch), tf.nest.flatten(made.spec), strict=True):
        assert (leaf.shape, leaf.dtype) == (spec.shape, spec.dtype)
    order = np.argsort(batch[0].numpy().ravel())
    return tf.nest.map_structure(lambda leaf: leaf.numpy()[order], batch)


def _weights(class_weight, labels=NUMBERS, **attributes):
    return _batch(class_weight, labels, **attributes)[2]


def _refusal(class_weight, labels=NUMBERS, **attributes):
    with pytest.raises(ConfigError) as caught:
        _batch(class_weight, labels, **attributes)
    assert str(caught.value).startswith("mine has ")
    assert "expected" in str(caught.value)
    return str(caught.value)


LABELS = {
    "numbers": NUMBERS,
    "numbers_in_a_column": NUMBERS[:, None],
    "one_byte": NUMBERS.astype("uint8")[:, None],
    "floats": NUMBERS.astype("float32"),
    "floats_in_a_column": NUMBERS.astype("float16")[:, None],
    "floats_that_are_nearly_whole": (NUMBERS + 0.4).astype("float32"),
    "truths": (NUMBERS > 0)[:, None],
    "one_hot": np.eye(4, dtype="float32")[NUMBERS],
    "one_hot_bytes": np.eye(4, dtype="uint8")[NUMBERS],
    "smoothed": np.eye(4, dtype="float16")[NUMBERS] * np.float16(0.9) + np.float16(0.025),
    "void_is_negative": np.where(NUMBERS == 3, -1, NUMBERS),
    "void_is_255": np.where(NUMBERS == 3, 255, NUMBERS).astype("uint8"),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("table", [TABLE, {1: 3.0}, {0: 2.0, 3: 0.0}, {-1: 0.0, 255: 0.0}])
def test_a_label_of_any_kind_weighs_as_much_as_in_keras(labels, table):
    expected = class_weight_to_sample_weights(labels, table)
    found = _weights(table, labels)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize(
    "labels",
    [np.eye(4, dtype="float32")[NUMBERS.reshape(4, 2)], NUMBERS.reshape(4, 2, 1) % 3],
    ids=["one_hot", "numbers"],
)
def test_each_pixel_or_token_weighs_as_much_as_in_keras(labels):
    table = TABLE | {3: 1.0}  # Keras asks for each class where labels come as a tf.data.Dataset
    _, _, expected = make_class_weight_map_fn(table)(np.zeros(4), tf.constant(labels))
    found = _weights(table, labels, num_classes=labels.shape[-1] if labels.shape[-1] > 1 else 4)
    np.testing.assert_array_equal(found, expected)


def test_weights_are_as_exact_as_keras_has_them():
    keras.config.set_floatx("float64")
    try:
        found = _weights({0: 0.1})
        np.testing.assert_array_equal(found, class_weight_to_sample_weights(NUMBERS, {0: 0.1}))
        assert found.dtype == np.float64
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize(
    "table",
    [
        {"0": 0.25, "1": 4.0, " 2 ": 1.5},  # as JSON has them
        {0.0: 0.25, 1.0: 4.0, 2.0: 1.5},
        {np.int64(0): np.float32(0.25), np.int8(1): np.array(4.0), np.float32(2): 1.5},
        {False: 0.25, True: 4, 2: 1.5},
    ],
)
def test_a_class_may_be_written_in_any_way_that_is_one_number(table):
    np.testing.assert_array_equal(_weights(table), _weights(TABLE))


@pytest.mark.parametrize("table", [None, {}])
def test_without_a_table_there_are_no_weights(table):
    assert len(_batch(table)) == 2


def test_a_table_is_not_asked_for_classes_of_which_the_data_has_none():
    np.testing.assert_array_equal(_weights({7: 2.0}), np.ones(8))


def test_the_loss_of_a_training_is_that_of_plain_keras():
    """Before: class 0's weight for all, in a column of labels."""
    features = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    labels = (NUMBERS % 2)[:, None]
    table = {0: 1.0, 1: 9.0}

    def model():
        made = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros")]
        )
        made.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", weighted_metrics=[])
        return made

    plain, ours = model(), model()
    expected = plain.fit(features, labels, batch_size=8, class_weight=table, verbose=0).history
    given = _batch(table, labels, features=np.arange(8, dtype="float32")[:, None])
    found = ours.fit(features, labels, sample_weight=given[2], batch_size=8, verbose=0).history
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    np.testing.assert_allclose(ours.get_weights()[0], plain.get_weights()[0], atol=1e-6)


def test_no_weights_of_classes_are_taken_for_a_prediction_or_an_evaluation():
    example = (tf.constant(1.0), tf.constant(2))
    assert weight_function(_file(None).class_weight)(example) is example


# Several outputs.

TWO = {"colour": NUMBERS[:, None] % 3, "kind": np.eye(4, dtype="float32")[NUMBERS]}


def test_each_output_has_a_table_of_its_own_and_one_that_is_not_named_has_1():
    weights = _weights({"colour": {"1": 3.0}}, TWO)
    np.testing.assert_array_equal(
        weights["colour"], class_weight_to_sample_weights(TWO["colour"], {1: 3.0})
    )
    np.testing.assert_array_equal(weights["kind"], np.ones(8))


def test_an_output_that_is_not_there_is_named_with_those_that_are():
    message = _refusal({"color": {1: 3.0}}, TWO)
    assert "class_weight['color'], but labels colour, kind" in message


def test_one_table_for_several_outputs_is_refused():
    message = _refusal({1: 3.0}, TWO)
    assert "one class_weight for several labels ({colour: int64(1,), kind: float32(4,)})" in message


def test_tables_by_output_for_one_label_are_refused():
    assert "by output (colour), but labels without names (int64())" in _refusal(
        {"colour": {1: 3.0}}
    )


def test_labels_in_a_tuple_are_refused():
    assert "several labels ((int64(), int64()))" in _refusal({1: 3.0}, (NUMBERS, NUMBERS))


def test_a_table_by_class_and_by_output_at_once_is_refused():
    assert "partly by class and partly by output" in _refusal({"colour": {1: 3.0}, 1: 2.0}, TWO)


# What is no class.


@pytest.mark.parametrize(
    ("table", "came"),
    [
        ({"cat": 2.0}, "for class 'cat'; expected whole numbers"),
        ({0.5: 2.0}, "for class 0.5; expected whole numbers"),
        ({None: 2.0}, "for class None; expected whole numbers"),
        ({(0, 1): 2.0}, "for class (0, 1); expected whole numbers"),
        ({float("nan"): 2.0}, "for class nan; expected whole numbers"),
        ({float("inf"): 2.0}, "for class inf; expected whole numbers"),
        ({0: 1.0, "0": 2.0}, "names class 0 twice"),
        ({4: 2.0}, "for class 4, but num_classes = 4; expected classes from 0 to 3"),
        ({0: -1.0}, "class_weight[0] = -1.0; expected a number of at least 0"),
        ({0: float("nan")}, "class_weight[0] = nan; expected a number of at least 0"),
        ({0: float("inf")}, "class_weight[0] = inf; expected a number of at least 0"),
        ({0: "2.0"}, "class_weight[0] = '2.0'; expected a number of at least 0"),
        ({0: None}, "class_weight[0] = None; expected a number of at least 0"),
        ({0: True}, "class_weight[0] = True; expected a number of at least 0"),
        ({0: [1.0, 2.0]}, "class_weight[0] = [1.0, 2.0]; expected a number of at least 0"),
        ([1.0, 2.0], "class_weight = [1.0, 2.0]; expected a dict"),
        (np.ones(2), "class_weight = array([1., 1.]); expected a dict"),
        ("balanced", "class_weight = 'balanced'; expected a dict"),
        ({"kind": {9: -1.0}}, "class_weight['kind'][9] = -1.0; expected a number of at least 0"),
    ],
)
def test_a_table_that_can_not_be_meant_is_refused_before_data_is_read(table, came):
    with pytest.raises(ConfigError) as caught:
        _file(table, num_classes=4)
    assert came in str(caught.value)


def test_one_output_has_two_classes():
    np.testing.assert_array_equal(
        _weights({1: 3.0}, NUMBERS % 2, num_classes=1), np.where(NUMBERS % 2, 3.0, 1.0)
    )


MULTI_HOT = np.tile([1, 0, 1, 0], (8, 1))


@pytest.mark.parametrize(
    ("labels", "attributes", "came"),
    [
        (np.array(["a", "b"] * 4), {}, "a label is string(); expected the number of a class"),
        (MULTI_HOT, {}, "a label is int64(4,) that isn't one-hot"),
        (np.ones((8, 3)), {"task": "regression"}, "a label is float64(3,) of task 'regression'"),
        (np.eye(8), {"num_classes": 4}, "a label is float64(8,) with num_classes = 4"),
        (
            np.ones((8, 5, 6), "int32"),
            {"num_classes": 4},
            "a label is int32(5, 6) with num_classes",
        ),
        (np.ones((8, 5, 6), "uint8"), {}, "a label is uint8(5, 6) that isn't one-hot"),
    ],
)
def test_a_label_of_several_classes_is_refused(labels, attributes, came):
    message = _refusal({1: 3.0}, labels, **attributes)
    assert came in message


# Weights that the examples have already.


@pytest.mark.parametrize("given", [np.linspace(0.5, 4.0, 8, dtype="float32"), np.arange(8)])
def test_a_weight_that_the_example_has_is_multiplied(given):
    expected = given.astype("float32") * class_weight_to_sample_weights(NUMBERS, TABLE)
    np.testing.assert_array_equal(_weights(TABLE, given=(given,)), expected)


def test_one_weight_of_an_example_goes_to_each_of_its_outputs():
    given = np.linspace(0.5, 4.0, 8, dtype="float32")
    weights = _weights({"colour": {1: 3.0}}, TWO, given=(given,))
    np.testing.assert_array_equal(weights["kind"], given)
    np.testing.assert_array_equal(
        weights["colour"], given * class_weight_to_sample_weights(TWO["colour"], {1: 3.0})
    )


def test_weights_of_each_output_are_multiplied_one_by_one():
    given = {"colour": np.full(8, 0.5), "kind": np.full(8, 4.0)}
    weights = _weights({"colour": {1: 3.0}}, TWO, given=(given,))
    np.testing.assert_array_equal(weights["kind"], np.full(8, 4.0))
    np.testing.assert_array_equal(
        weights["colour"], 0.5 * class_weight_to_sample_weights(TWO["colour"], {1: 3.0})
    )


def test_of_several_labels_each_that_is_there_weighs_as_its_class():
    weigh = weight_function({1: 5.0, 3: 0.5}, "multilabel")
    y = np.float32([1, 1, 0, 0])
    np.testing.assert_array_equal(weigh((0, y))[2], [1, 5, 1, 1])
    np.testing.assert_array_equal(weigh((0, 1 - y))[2], [1, 1, 1, 0.5])
    np.testing.assert_array_equal(weigh((0, y, 2.0))[2], [2, 10, 2, 2])
