from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.errors import ConfigError
from tfscale.model.model_file import ModelFile, build_model, read_model_file
from tfscale.model.user_callbacks import own_callbacks

SPEC = (tf.TensorSpec([8, 3], tf.float32), tf.TensorSpec([8], tf.int64))


def _dataset(num_classes=10):
    return read_dataset_file(
        SimpleNamespace(__name__="flowers", load=lambda split: None, num_classes=num_classes)
    )


def _build(build, num_classes=10, spec=SPEC):
    strategy = tf.distribute.get_strategy()
    return build_model(read_model_file(build), _dataset(num_classes), spec, strategy)


def _refusal(*args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        _build(*args, **kwargs)
    return str(caught.value)


def _network(spec, num_classes):
    return keras.Sequential([keras.Input(spec.shape), keras.layers.Dense(num_classes)])


def test_a_function_is_a_model_file():
    file = read_model_file(_network)
    assert (file.name, file.build, file.callbacks()) == ("_network", _network, [])


def test_a_path_is_a_model_file_with_options(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text("width = 3\ndef build(spec):\n    return width\n")
    file = read_model_file(str(path), ("width=7",))
    assert file.name == str(path)
    assert file.build(None) == 7


def test_an_object_is_a_model_file_and_may_ask_for_callbacks():
    stop = keras.callbacks.EarlyStopping()
    file = read_model_file(
        SimpleNamespace(__name__="tiny", build=_network, callbacks=lambda: [stop])
    )
    assert file.name == "tiny"
    assert file.callbacks() == [stop]


def test_a_file_that_builds_nothing_is_refused():
    with pytest.raises(ConfigError, match="has no function `build`"):
        read_model_file(SimpleNamespace(__name__="tiny"))


def test_build_gets_one_example_and_the_number_of_classes():
    got = []

    def build(spec, num_classes):
        got.append((spec, num_classes))
        return _network(spec, num_classes)

    assert _build(build).output_shape == (None, 10)
    assert got == [(tf.TensorSpec([3], tf.float32), 10)]


def test_build_gets_features_in_the_structure_that_they_have():
    got = []

    def build(spec):
        got.append(spec)
        return keras.Sequential()

    image, text = tf.TensorSpec([8, 2, 2], tf.uint8), tf.TensorSpec([8], tf.string)
    _build(build, spec=({"image": image, "text": text}, SPEC[1]))
    assert got == [{"image": tf.TensorSpec([2, 2], tf.uint8), "text": tf.TensorSpec([], tf.string)}]


def test_build_may_take_less():
    assert isinstance(_build(lambda: keras.Sequential(), num_classes=None), keras.Model)
    assert isinstance(_build(lambda spec: keras.Sequential(), num_classes=None), keras.Model)


def test_a_third_parameter_keeps_its_default():
    def build(spec, num_classes, width=4):
        return keras.Sequential([keras.Input(spec.shape), keras.layers.Dense(width)])

    assert _build(build).output_shape == (None, 4)


def _film_ratings(**more):
    return read_dataset_file(
        SimpleNamespace(
            __name__="films",
            load=lambda split: None,
            num_classes=5,
            num_users=99,
            years=(1, 2),
            **more,
        ),
        data_dir=None,
    )


def _built_for_films(build):
    model = read_model_file(build)
    return build_model(model, _film_ratings(), SPEC, tf.distribute.get_strategy())


def test_build_gets_by_name_what_the_dataset_file_defines():
    got = {}

    def build(spec, num_users=201, *, years, data_dir, width=4, num_classes=7, **more):
        got.update({**locals(), "got": None})
        return _network(spec, width)

    assert _built_for_films(build).output_shape == (None, 4)
    assert got.pop("data_dir").endswith("/data")
    del got["spec"], got["got"]
    assert got == {"num_users": 99, "years": (1, 2), "width": 4, "num_classes": 5, "more": {}}


def test_build_may_do_without_the_spec():
    assert (
        _built_for_films(lambda num_classes: _network(tf.TensorSpec([3]), num_classes)) is not None
    )


def test_a_name_that_nobody_defines_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError) as caught:
        _built_for_films(lambda spec, classes: None)
    message = str(caught.value)
    assert "build wants classes, which films doesn't define" in message
    assert "expected names out of data_dir, num_classes, num_users, years" in message


def test_classes_that_the_dataset_does_not_say_are_asked_for():
    message = _refusal(_network, num_classes=None)
    assert "_network: build(spec, num_classes) wants the number of classes" in message
    assert "flowers doesn't say" in message
    assert "num_classes = 10" in message


def test_a_number_of_classes_with_a_default_is_not_asked_for():
    def build(spec, num_classes=4):
        return _network(spec, num_classes)

    assert _build(build, num_classes=None).output_shape == (None, 4)
    assert _build(build, num_classes=10).output_shape == (None, 10)


def test_the_model_is_made_in_the_scope_of_the_strategy():
    seen = []

    def build(spec):
        seen.append(tf.distribute.get_strategy())
        return keras.Sequential()

    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    build_model(read_model_file(build), _dataset(), SPEC, strategy)
    assert seen == [strategy]


def test_what_build_raised_is_told_in_one_line():
    def build(spec):
        raise ValueError("no\ndepth 17")

    assert _refusal(build) == "build: build raised ValueError: no depth 17"


@pytest.mark.parametrize("given", [None, "model", keras.layers.Dense(1)])
def test_something_else_than_a_keras_model_is_refused(given):
    message = _refusal(lambda spec: given)
    assert f"build returned {type(given).__module__}.{type(given).__name__}" in message
    assert "expected a keras.Model of Keras 3" in message


def _callbacks(*made):
    return own_callbacks(ModelFile("mine.py", _network, lambda: list(made)))


def test_callbacks_of_keras_are_taken_as_they_are():
    stop = keras.callbacks.EarlyStopping()
    assert _callbacks(stop) == [stop]


def test_a_backup_that_would_resume_at_another_step_is_refused(tmp_path):
    """K9: Keras restores the epoch, not the step, the position in the data or random states."""
    with pytest.raises(ConfigError, match=r"mine.py: callbacks\(\) has a BackupAndRestore"):
        _callbacks(keras.callbacks.BackupAndRestore(str(tmp_path)))


def test_what_is_no_callback_is_refused():
    with pytest.raises(ConfigError, match="gives 3; expected Keras 3 callbacks"):
        _callbacks(3)


def test_callbacks_that_fail_are_told_in_one_line():
    def fail():
        raise KeyError("patience")

    with pytest.raises(ConfigError, match=r"mine.py: callbacks\(\) raised KeyError"):
        own_callbacks(ModelFile("mine.py", _network, fail))
