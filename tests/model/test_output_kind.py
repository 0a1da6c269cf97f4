"""Probabilities are told from logits by what comes out, whatever the model is made of.

The right answers are checked against plain Keras: a model whose weights make it sure of the right
class has no loss, and logits of 0 have that of a guess.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tfscale.errors import ConfigError
from tfscale.model.output_kind import output_of

X = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "float64")


@pytest.fixture(autouse=True)
def policy(request):
    name = getattr(request, "param", "float32")
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(name)
    keras.config.set_floatx("float64" if name == "float64" else "float32")
    yield name
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


def _functional(make, shape=(6,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, make(inputs))


class Own(keras.Model):
    """As most people write one: what is last shows only when it is called."""

    def __init__(self, then, units=4, **arguments):
        super().__init__()
        self.then, self.units = then, units
        self.dense = layers.Dense(units, **arguments)
        self.never_used = layers.Activation("softmax")

    def call(self, x):
        return self.then(self.dense(x))


def _own(*arguments, **keywords):
    model = Own(*arguments, **keywords)
    model(keras.KerasTensor((8, 6), keras.config.floatx()))
    return model


def _softmax(x):
    return layers.Dense(4, activation="softmax")(x)


def _told(model, x=X):
    outputs = getattr(model, "units", None) or model.output_shape[-1]
    return output_of(model, tf.constant(x, keras.config.floatx()), has_classes=outputs != 1)


PROBABILITIES = {
    "time_distributed": lambda: _functional(
        lambda x: layers.Reshape((4,))(
            layers.TimeDistributed(layers.Dense(4, "softmax"))(layers.Reshape((1, 6))(x))
        )
    ),
    "reshaped": lambda: _functional(lambda x: layers.Reshape((1, 4))(_softmax(x))),
    "average_of_two": lambda: _functional(lambda x: layers.Average()([_softmax(x), _softmax(x)])),
    "average_by_hand": lambda: _functional(lambda x: (_softmax(x) + _softmax(x)) / 2),
    "nested": lambda: keras.Sequential(
        [keras.Input((6,)), keras.Sequential([keras.Input((6,)), layers.Dense(4, "softmax")])]
    ),
    "nested_in_an_average": lambda: _functional(
        lambda x: layers.Average()([_functional(_softmax)(x), _functional(_softmax)(x)])
    ),
    "an_operation": lambda: _functional(lambda x: ops.softmax(layers.Dense(4)(x))),
    "a_function_of_tensorflow": lambda: _functional(layers.Dense(4, activation=tf.nn.softmax)),
    "a_layer_as_activation": lambda: _functional(layers.Dense(4, activation=layers.Softmax())),
    "a_lambda": lambda: _functional(lambda x: layers.Lambda(tf.nn.softmax)(layers.Dense(4)(x))),
    "dropout_after_it": lambda: _functional(lambda x: layers.Dropout(0.5)(_softmax(x))),
    "sparsemax": lambda: _functional(layers.Dense(4, activation="sparsemax")),
    "own_model": lambda: _own(ops.softmax),
    "upsampled": lambda: _functional(
        lambda x: layers.UpSampling2D()(layers.Reshape((1, 1, 4))(_softmax(x)))
    ),
    "cast_to_float32": lambda: _functional(
        lambda x: layers.Activation("linear", dtype="float32")(layers.Dropout(0.1)(_softmax(x)))
    ),
    "one_sigmoid": lambda: _functional(layers.Dense(1, activation="sigmoid")),
    "one_sigmoid_of_tensorflow": lambda: _functional(layers.Dense(1, activation=tf.nn.sigmoid)),
    "own_model_of_one_sigmoid": lambda: _own(lambda x: x, 1, activation="sigmoid"),
    "own_model_of_the_other_class": lambda: _own(lambda x: 1 - ops.sigmoid(x), 1),
    "average_of_sigmoids": lambda: _functional(
        lambda x: layers.Average()([layers.Dense(1, "sigmoid")(x) for _ in range(3)])
    ),
    "one_class_of_a_softmax": lambda: _functional(lambda x: _softmax(x)[:, 1:2]),
    "mixture_of_experts": lambda: _functional(
        lambda x: ops.einsum(
            "ne,nek->nk", _softmax(x), ops.stack([_softmax(x) for _ in range(4)], axis=1)
        )
    ),
    "four_sigmoids_in_an_own_model": lambda: _own(ops.sigmoid),
}
LOGITS = {
    "dense": lambda: _functional(layers.Dense(4)),
    "nested": lambda: _functional(lambda x: _functional(layers.Dense(4))(x)),
    "after_a_softmax": lambda: _functional(lambda x: layers.Dense(4)(_softmax(x))),
    "logarithms": lambda: _functional(layers.Dense(4, activation="log_softmax")),
    "logarithms_by_hand": lambda: _functional(lambda x: ops.log(_softmax(x))),
    "own_model": lambda: _own(lambda x: x),
    "own_model_of_one": lambda: _own(lambda x: x, 1),
    "own_model_that_starts_at_0": lambda: _own(lambda x: x, kernel_initializer="zeros"),
    "own_model_of_one_that_starts_at_0": lambda: _own(lambda x: x, 1, kernel_initializer="zeros"),
    "own_model_that_starts_at_a_half": lambda: _own(
        lambda x: x,
        1,
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(0.5),
    ),
    "reshaped": lambda: _functional(lambda x: layers.Reshape((1, 4))(layers.Dense(4)(x))),
    "scaled": lambda: _functional(lambda x: layers.Dense(4)(x) * 0.001),
}


@pytest.mark.parametrize("policy", POLICIES, indirect=True)
@pytest.mark.parametrize("make", PROBABILITIES.values(), ids=PROBABILITIES)
def test_probabilities_are_found_out_in_every_precision(make, policy):
    assert _told(make()).are_probabilities


@pytest.mark.parametrize("policy", POLICIES, indirect=True)
@pytest.mark.parametrize("make", LOGITS.values(), ids=LOGITS)
def test_logits_are_found_out_in_every_precision(make, policy):
    assert not _told(make()).are_probabilities


def test_the_answer_says_where_it_came_from():
    assert str(_told(LOGITS["dense"]())) == "logits (by its last layer)"
    assert str(_told(PROBABILITIES["reshaped"]())) == "probabilities (tried on 8 examples)"
    assert str(_told(PROBABILITIES["own_model"](), X[:3])) == "probabilities (tried on 3 examples)"
    told = str(_told(PROBABILITIES["own_model_of_one_sigmoid"]()))
    assert told == "probabilities (by its last operation)"


DOUBTS = {
    "squashed": (lambda: _own(lambda x: ops.abs(x) * 0.001, 1), "lie between "),
    "clipped": (lambda: _own(lambda x: ops.clip(x, 0, 1), 1), "lie between "),
    "a_part_of_a_softmax": (lambda: _functional(lambda x: _softmax(x)[:, :2]), "lie between "),
    "a_sigmoid_and_logits": (
        lambda: _own(lambda x: 0.001 * ops.abs(x) + ops.sigmoid(x) / 2, 1),
        "lie between ",
    ),
    "a_mixture_of_sigmoids": (
        lambda: _functional(
            lambda x: ops.einsum("ne,ne->n", _softmax(x), layers.Dense(4, "sigmoid")(x))[:, None]
        ),
        "lie between ",
    ),
    "another_axis": (
        lambda: _functional(lambda x: layers.Softmax(1)(layers.Reshape((2, 3))(x))),
        "lie between ",
    ),
    "no_numbers": (lambda: _own(lambda x: ops.log(-ops.abs(x))), "are not all finite"),
}


@pytest.mark.parametrize(("make", "came"), DOUBTS.values(), ids=DOUBTS)
def test_the_user_is_asked_in_a_doubt(make, came):
    with pytest.raises(ConfigError) as caught:
        _told(make())
    message = str(caught.value)
    assert f"outputs for the first 8 examples {came}" in message
    assert "Compile the model in build, with a loss that has from_logits=" in message


def test_a_batch_of_fixed_size_is_filled_up():
    inputs = keras.Input(batch_shape=(11, 6))
    model = keras.Model(inputs, layers.Reshape((4,))(_softmax(inputs)))
    assert str(_told(model, X[:3])) == "probabilities (tried on 11 examples)"


def test_several_inputs_by_name_are_tried():
    inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((6,), name="b")}
    joined = layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, layers.Reshape((4,))(_softmax(joined)))
    assert output_of(model, {"a": X, "b": X}, has_classes=True).are_probabilities


class Drawing(keras.Model):
    """Draws also when it doesn't train, as the latent of an autoencoder."""

    def __init__(self):
        super().__init__()
        self.units = 4
        self.dense = layers.Dense(4)
        self.normal = layers.BatchNormalization()
        self.random = keras.random.SeedGenerator(5)

    def call(self, x, training=False):
        x = self.normal(self.dense(x), training=training)
        return ops.softmax(x + keras.random.normal((4,), seed=self.random))


def test_a_trial_leaves_the_model_as_it_was():
    model = Drawing()
    model(keras.KerasTensor((8, 6)))
    before = [np.array(variable.value) for variable in model.variables]
    assert _told(model).are_probabilities
    assert len(model.variables) == len(before)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.value, value)


def test_a_model_that_is_sure_has_no_loss_and_with_logits_it_would_have_that_of_the_report():
    """1.461 for 0.000 with ten classes: what was seen."""
    model = _functional(
        lambda x: layers.Reshape((10,))(
            layers.Dense(10, "softmax", kernel_initializer=lambda *_, **__: 100 * np.eye(10))(x)
        ),
        (10,),
    )
    x, labels = np.eye(10, dtype="float32"), np.arange(10)
    told = _told(model, x)
    for from_logits, loss in ((not told.are_probabilities, 0.0), (told.are_probabilities, 1.461)):
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits))
        assert model.evaluate(x, labels, verbose=0) == pytest.approx(loss, abs=1e-3)
