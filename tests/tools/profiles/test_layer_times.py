import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.jobs.workers import ROOT, start_all
from tfscale.errors import ConfigError
from tools.profiles.layer_times import measure
from tools.profiles.profile import load_profile

DEADLINE_SECONDS = 90


def _measured(model, inputs):
    return measure(model, inputs, source="a test", repetitions=2)


def _names(profile):
    return [layer.name for layer in profile.layers]


def _shapes(profile):
    return [list(layer.shapes) for layer in profile.layers]


def _step_milliseconds(profile):
    """The forward and the backward time of the step, as the profile's source says them."""
    words = profile.source.replace(",", "").split()
    return [float(words[words.index(name) + 1]) for name in ("forward", "backward")]


@pytest.fixture(scope="module")
def convolutional():
    """The profile of a small model with layers that have no weights in between."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(2.0),
            layers.Conv2D(4, 3, name="conv", use_bias=False),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(3, name="logits"),
        ],
        name="convolutional",
    )
    return _measured(model, tf.ones([16, 8, 8, 1]))


def test_layers_are_in_forward_order_with_the_shapes_of_what_is_trained(convolutional):
    assert _names(convolutional) == ["conv", "norm", "logits"]
    assert _shapes(convolutional) == [[(3, 3, 1, 4)], [(4,), (4,)], [(144, 3), (3,)]]


def test_the_layers_add_up_to_the_step(convolutional):
    forward, backward = _step_milliseconds(convolutional)
    of_layers = convolutional.layers
    assert sum(layer.forward_ms for layer in of_layers) == pytest.approx(forward, rel=1e-3)
    assert sum(layer.backward_ms for layer in of_layers) == pytest.approx(backward, rel=1e-3)
    assert min(min(layer.forward_ms, layer.backward_ms) for layer in of_layers) >= 0
    assert forward > 0


def test_the_profile_says_what_was_measured(convolutional):
    assert convolutional.name == "convolutional"
    assert convolutional.examples_per_step == 16
    assert convolutional.source.startswith("Measured: a test. Medians of 2 steps")
    assert "By their weights" not in convolutional.source


def test_order_is_that_of_the_calls_and_not_of_the_making():
    last, first = layers.Dense(2, name="made_first"), layers.Dense(3, name="made_last")
    x = inputs = keras.Input((4,))
    profile = _measured(keras.Model(inputs, last(first(x))), tf.ones([2, 4]))
    assert _names(profile) == ["made_last", "made_first"]


def test_layers_of_models_in_models_are_found_and_named_apart():
    inner = keras.Sequential([layers.Dense(3, name="dense"), layers.Dropout(0.5)], name="inner")
    deeper = keras.Sequential([inner, layers.Dense(5, name="dense")], name="deeper")
    model = keras.Sequential([keras.Input((4,)), deeper, layers.Dense(2, name="head")])
    profile = _measured(model, tf.ones([2, 4]))
    assert _names(profile) == ["dense", "dense_2", "head"]
    assert _shapes(profile) == [[(4, 3), (3,)], [(3, 5), (5,)], [(5, 2), (2,)]]


def test_a_layer_that_is_called_twice_is_there_once_where_it_is_called_first():
    shared = layers.Dense(4, name="shared")
    x = inputs = keras.Input((4,))
    between = layers.Dense(4, name="between")(shared(x))
    profile = _measured(keras.Model(inputs, shared(between)), tf.ones([2, 4]))
    assert _names(profile) == ["shared", "between"]
    assert profile.num_weights == 2 * (16 + 4)


def test_frozen_layers_have_nothing_to_send():
    body = layers.Dense(4, name="body", trainable=False)
    model = keras.Sequential([keras.Input((4,)), body, layers.Dense(2, name="head")])
    assert _names(_measured(model, tf.ones([2, 4]))) == ["head"]


class Tokens(keras.Model):
    """Whatever a model may have beside plain layers: tokens, a weight of its own, tied weights."""

    def __init__(self):
        super().__init__(name="tokens")
        self.embed = layers.Embedding(50, 4, mask_zero=True, name="embed")
        self.attend = layers.MultiHeadAttention(2, 4, name="attend")
        self.remember = layers.Bidirectional(layers.LSTM(3, name="lstm"), name="remember")
        self.unused = layers.Dense(4, name="unused")
        self.project = layers.Dense(4, name="project")

    def build(self, shape):
        self.shift = self.add_weight(shape=(1, 1, 4), name="shift")
        self.unused.build((None, 4))
        super().build(shape)

    def call(self, tokens):
        x = self.embed(tokens) + self.shift
        x = self.project(self.remember(self.attend(x, x)))
        return keras.ops.matmul(x, keras.ops.transpose(self.embed.embeddings))


@pytest.fixture(scope="module")
def tokens():
    """The profile of a subclassed model, which is only built when it is called."""
    numbers = np.random.default_rng(0).integers(0, 50, (4, 6))
    return _measured(Tokens(), tf.constant(numbers))


def test_weights_of_every_kind_of_layer_are_there_once(tokens):
    assert tokens.num_weights == sum(
        [4, 50 * 4, 3 * (4 * 8 + 8) + 8 * 4 + 4, 2 * (4 * 12 + 3 * 12 + 12), 20, 6 * 4 + 4]
    )
    assert _names(tokens)[:2] == ["tokens", "embed"]
    assert {"query", "key", "value", "attention_output"} < set(_names(tokens))


def test_a_recurrent_layer_is_one_layer(tokens):
    assert _names(tokens).count("forward_lstm") == 1
    assert not [name for name in _names(tokens) if "cell" in name]


def test_what_can_not_be_run_alone_is_shared_by_weights_and_said(tokens):
    assert tokens.source.endswith("By their weights: tokens, unused.")
    of_all, of_one = tokens.layers[0], _names(tokens).index("unused")
    assert of_all.forward_ms > 0
    # Both have the same rate: 4 weights of one, 20 of the other.
    assert tokens.layers[of_one].forward_ms == pytest.approx(5 * of_all.forward_ms)


def test_a_layer_that_fails_by_itself_is_shared_by_weights():
    within = []

    class Dependent(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), name="scale")

        def call(self, x):
            if not within:
                raise RuntimeError("not without the rest")
            return x * self.scale

    class Whole(keras.Model):
        def __init__(self):
            super().__init__()
            self.dependent = Dependent(name="dependent")
            self.head = layers.Dense(2, name="head")

        def call(self, x):
            within.append(self)
            outputs = self.head(self.dependent(x))
            within.clear()
            return outputs

    profile = _measured(Whole(), tf.ones([2, 4]))
    assert _names(profile) == ["dependent", "head"]
    assert profile.source.endswith("By their weights: dependent.")


def test_the_layers_are_as_they_were_afterwards():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="head")])
    _measured(model, tf.ones([2, 4]))
    assert "call" not in vars(model.layers[0])
    assert "call" not in vars(model)


def test_a_model_may_take_and_give_several_tensors():
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    outputs = {"a": layers.Dense(2, name="a")(both), "b": layers.Dense(1, name="b")(both)}
    model = keras.Model({"left": left, "right": right}, outputs)
    profile = _measured(model, {"left": tf.ones([5, 4]), "right": tf.ones([5, 3])})
    assert sorted(_names(profile)) == ["a", "b"]
    assert profile.examples_per_step == 5


def test_mixed_precision_keeps_the_layers():
    policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="head", dtype=policy)])
    assert _names(_measured(model, tf.ones([2, 4]))) == ["head"]


@pytest.mark.parametrize(
    "model",
    [
        keras.Sequential([keras.Input((4,)), layers.Flatten()], name="none"),
        keras.Sequential([keras.Input((4,)), layers.Dense(2, trainable=False)], name="none"),
    ],
    ids=["no weights", "frozen weights"],
)
def test_a_model_with_nothing_to_train_is_refused(model):
    with pytest.raises(ConfigError, match="The model 'none' has no weights that are trained"):
        _measured(model, tf.ones([2, 4]))


def test_a_model_that_does_not_take_the_batch_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="narrow")
    with pytest.raises(ConfigError, match="The model 'narrow' raised .* expected outputs"):
        _measured(model, tf.ones([2, 5]))


def test_a_model_without_a_gradient_is_refused():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2), layers.Lambda(lambda x: keras.ops.argmax(x, -1))],
        name="choice",
    )
    with pytest.raises(ConfigError, match="'choice' .* expected outputs that have a gradient"):
        _measured(model, tf.ones([2, 4]))


def _program(*flags, is_warm=False):
    command = [sys.executable, str(ROOT / "launch" / "profile_model.py"), *flags]
    return start_all([command], deadline_seconds=DEADLINE_SECONDS, is_warm=is_warm)[0]


def test_the_program_writes_a_profile_that_can_be_loaded(tmp_path):
    out = tmp_path / "small_cnn.json"
    ended = _program(
        "--dataset=datasets/digits.py",
        *("--model=models/small_cnn.py", "--model_option=widths=4,8"),
        *("--batch_size=32", "--steps=2", f"--out={out}"),
    )
    assert ended.code == 0, ended
    assert ended.out.splitlines() == [f"written: {out}"]
    assert ended.err == ""
    profile = load_profile(str(out))
    assert (profile.name, profile.examples_per_step) == ("small_cnn", 32)
    assert _shapes(profile)[0] == [(3, 3, 1, 4), (4,)]
    assert len(profile.layers) == 5
    assert profile.compute_seconds > 0
    assert "models/small_cnn.py on 32 examples a step of datasets/digits.py" in profile.source


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "--dataset is missing; expected the path of a file."),
        (("--dataset=datasets/digits.py",), "--model is missing; expected the path of a file."),
        (("--steps=0", "--dataset=a", "--model=b"), "--steps=0 measures nothing"),
        (("--out=a.txt",), f"--out={ROOT}/a.txt can't be written"),
        (("model.json",), "'model.json' is no flag"),
        (("--batch_size=0",), "--batch_size=0 is out of range"),
    ],
)
def test_the_program_refuses_in_one_line_what_it_can_not_do(flags, says):
    ended = _program(*flags, is_warm=True)
    assert ended.code == 2, ended
    assert says in ended.err
    assert len(ended.err.splitlines()) == 1
