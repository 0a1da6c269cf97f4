import keras
import numpy as np
import pytest

from tfscale.model.learning_rate import learning_rate
from tfscale.model.optimizers import KINDS, LARS, make_optimizer
from tfscale.settings import OPTIMIZERS, Config


def _config(**settings):
    return Config(run_dir="runs/first", **settings)


def _made(**settings):
    config = _config(**settings)
    rate = learning_rate(config, steps_per_epoch=100)
    return make_optimizer(config, rate.as_schedule())


def _layer():
    """A layer with everything that is and isn't decayed: kernel, bias, gamma and beta."""
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()]
    )
    return {variable.name: variable for variable in model.trainable_variables}


def _numpy(variables):
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


# The optimizers.


def test_a_constant_rate_without_a_warm_up_is_a_plain_number_that_callbacks_may_set():
    settings = {"learning_rate": 0.4, "warmup_fraction": 0, "schedule": "constant"}
    optimizer = _made(batch_size=256, **settings)
    assert float(optimizer.learning_rate) == pytest.approx(0.4)
    optimizer.learning_rate = 0.2
    assert float(optimizer.learning_rate) == pytest.approx(0.2)


def test_every_name_of_the_config_is_known():
    assert tuple(KINDS) == OPTIMIZERS


@pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=KINDS)
@pytest.mark.parametrize("decay", [0, 0.01])
def test_every_optimizer_that_a_config_may_name_is_made_and_learns(name, kind, decay):
    optimizer = _made(optimizer=name, weight_decay=decay)
    assert type(optimizer) is kind
    variables = list(_layer().values())
    before = _numpy(variables)
    optimizer.build(variables)
    for _ in range(2):  # the rate of the first step of a warm-up is zero
        optimizer.apply([keras.ops.ones_like(variable) for variable in variables], variables)
    for variable, old in zip(variables, before, strict=True):
        now = keras.ops.convert_to_numpy(variable)
        # Decay moves what is negative the other way.
        assert np.all(now != old if decay else now < old), variable.path


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_kernels_decay_and_biases_and_scales_do_not(name):
    optimizer = _made(optimizer=name, weight_decay=0.01)
    variables = _layer()
    optimizer.build(list(variables.values()))
    decayed = {key for key, value in variables.items() if optimizer._use_weight_decay(value)}
    assert decayed == {"kernel"}


def test_decay_of_sgd_shrinks_the_kernel_by_the_rate_times_the_decay():
    optimizer = _made(
        batch_size=256,
        learning_rate=0.5,
        weight_decay=0.1,
        warmup_fraction=0,
        schedule="constant",
    )
    variables = _layer()
    before = {name: keras.ops.convert_to_numpy(value) for name, value in variables.items()}
    nothing = [keras.ops.zeros_like(variable) for variable in variables.values()]
    optimizer.apply(nothing, list(variables.values()))
    after = {name: keras.ops.convert_to_numpy(value) for name, value in variables.items()}
    np.testing.assert_allclose(after["kernel"], before["kernel"] * (1 - 0.05), rtol=1e-6)
    for name in ("bias", "gamma", "beta"):
        np.testing.assert_array_equal(after[name], before[name])


def test_the_momentum_of_the_config_reaches_sgd_and_lars():
    for name in ("sgd", "lars"):
        assert _made(optimizer=name, momentum=0.7).momentum == 0.7


# LARS.


def _lars_in_numpy(weights, gradients, rates, *, momentum, decay, trust):
    """Algorithm 1 of the paper, a step for each gradient, in float64."""
    weight, velocity = weights.astype(np.float64), np.zeros(weights.shape)
    for gradient, rate in zip(gradients, rates, strict=True):
        if weight.ndim > 1:
            norm, gradient_norm = np.linalg.norm(weight), np.linalg.norm(gradient)
            if norm > 0 and gradient_norm > 0:
                rate = rate * trust * norm / (gradient_norm + decay * norm)
            gradient = gradient + decay * weight
        velocity = momentum * velocity + rate * gradient
        weight = weight - velocity
    return weight


@pytest.mark.parametrize("shape", [(4, 3), (3, 3, 2, 5), (6,)])
def test_lars_takes_the_steps_of_its_paper(shape):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=shape).astype("float32")
    gradients = rng.normal(size=(5, *shape)).astype("float32")
    variable = keras.Variable(weights)
    optimizer = LARS(0.5, momentum=0.8, trust_weight_decay=0.01, trust_coefficient=0.02)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    expected = _lars_in_numpy(weights, gradients, [0.5] * 5, momentum=0.8, decay=0.01, trust=0.02)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=2e-5)


def test_lars_follows_a_schedule():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(4, 3)).astype("float32")
    gradients = rng.normal(size=(3, 4, 3)).astype("float32")
    variable = keras.Variable(weights)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.1, 0.5, 1.0])
    optimizer = LARS(schedule, momentum=0.0, trust_weight_decay=0.0, trust_coefficient=0.1)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    expected = _lars_in_numpy(
        weights, gradients, [0.1, 0.5, 1.0], momentum=0.0, decay=0.0, trust=0.1
    )
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=2e-5)


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_lars_stays_finite_where_a_norm_is_zero(weight, gradient):
    variable = keras.Variable(np.full((2, 2), weight, "float32"))
    LARS(0.5, momentum=0.0, trust_weight_decay=0.0).apply(
        [keras.ops.full((2, 2), gradient)], [variable]
    )
    # Without a ratio the rate is the plain one.
    expected = np.full((2, 2), weight - 0.5 * gradient)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected)


def test_lars_learns_an_embedding_whose_gradient_names_rows_only():
    import tensorflow as tf

    rng = np.random.default_rng(2)
    table = rng.normal(size=(5, 3)).astype("float32")
    rows, values = [3, 1], rng.normal(size=(2, 3)).astype("float32")
    variable = keras.Variable(table)
    optimizer = LARS(0.5, momentum=0.9, trust_weight_decay=0.01, trust_coefficient=0.02)
    optimizer.apply([tf.IndexedSlices(values, rows, tf.constant([5, 3]))], [variable])
    dense = np.zeros_like(table)
    dense[rows] = values
    expected = _lars_in_numpy(table, [dense], [0.5], momentum=0.9, decay=0.01, trust=0.02)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=2e-5)


def test_lars_comes_back_from_its_config():
    given = {
        "learning_rate": 0.25,
        "momentum": 0.7,
        "trust_weight_decay": 0.02,
        "trust_coefficient": 0.03,
        "epsilon": 1e-6,
        "name": "mine",
        "clipnorm": 2.0,
    }
    config = LARS(**given).get_config()
    again = LARS.from_config(config)
    assert again.get_config() == config
    assert {name: config[name] for name in given if name != "learning_rate"} == {
        name: value for name, value in given.items() if name != "learning_rate"
    }
    assert float(again.learning_rate) == pytest.approx(0.25)


def test_lars_comes_back_from_keras_serialization_with_its_schedule():
    optimizer = _made(optimizer="lars", weight_decay=0.03)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is LARS
    assert again.get_config() == optimizer.get_config()


def test_lars_builds_its_momentum_once():
    optimizer, variable = LARS(), keras.Variable(np.ones((2, 2), "float32"))
    for _ in range(2):
        optimizer.build([variable])
    assert len(optimizer.momentums) == 1
