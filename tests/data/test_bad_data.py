"""An error of a run is explained by the record that caused it, if a record did."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from tfscale.data.bad_data import explain
from tfscale.errors import ConfigError

TRAINING = "[[while/body/IteratorGetNextSync]] [Op:__inference__train_steps_874]"
EVALUATION = "[[while/body/IteratorGetNextSync]] [Op:__inference__test_steps_95]"


def _error(text):
    return tf.errors.InvalidArgumentError(None, None, f"Graph execution error: {text}")


def _splits(searched, **reasons):
    """Splits of which each gives its error, and is written down when it is asked for one."""

    def input_of(name):
        def why(step):
            searched.append((name, step))
            return reasons.get(name)

        return SimpleNamespace(bad=None, why=why)

    training, evaluated = input_of("train"), {"validation": input_of("validation")}
    inputs, file = {"train": training, **evaluated}, SimpleNamespace(name="mine")
    return SimpleNamespace(training=training, evaluated=evaluated, inputs=inputs, file=file)


@pytest.mark.parametrize(("text", "name"), [(TRAINING, "train"), (EVALUATION, "validation")])
def test_the_split_that_failed_is_searched_and_no_other(text, name):
    searched = []
    bad = {"train": "mine: record 7: bad.", "validation": "mine: record 3: bad"}
    splits = _splits(searched, **{split: ConfigError(why) for split, why in bad.items()})
    told = explain(_error(text), splits, 12)
    assert searched == [(name, 12)]
    assert isinstance(told, ConfigError)
    number = {"train": 7, "validation": 3}[name]
    assert str(told).startswith(f"mine: record {number}: bad. Mend it, or skip it and up to N")


def test_another_split_is_searched_if_nothing_is_found():
    searched = []
    splits = _splits(searched, train=ConfigError("mine: record 7: bad"))
    told = explain(_error(EVALUATION), splits, 0)
    assert [name for name, _ in searched] == ["validation", "train"]
    assert "record 7" in str(told)


@pytest.mark.parametrize("kind", [RuntimeError, ConfigError])
def test_what_may_be_over_the_next_time_is_told_by_the_kind_of_error_and_not_by_its_text(kind):
    told = explain(_error(TRAINING), _splits([], train=kind("OSError.tfrecord: damaged")), 0)
    assert type(told) is kind
    assert str(told).startswith("OSError.tfrecord: damaged. Mend it")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Iterator:: of a user's own"),
        tf.errors.UnavailableError(None, None, "Graph execution error: Socket closed"),
        _error("Collective ops is aborted by: Shape mismatch in the collective instance 3"),
    ],
)
def test_an_error_that_is_not_of_an_input_stays_as_it_is(error):
    searched = []
    assert explain(error, _splits(searched, train=ConfigError("bad")), 0) is error
    assert searched == []


@pytest.mark.parametrize(
    ("name", "split"), [("train_steps", "'train'"), ("test_steps", "'validation'")]
)
@pytest.mark.parametrize("kind", [tf.errors.InvalidArgumentError, tf.errors.UnimplementedError])
def test_what_a_step_cannot_take_needs_no_further_try(kind, name, split):
    error = kind(None, None, f"indices[3] = 77 is not in [0, 50) [Op:__inference__{name}_1]")
    told = explain(error, _splits([]), 12)
    assert isinstance(told, ConfigError)
    assert f"mine: the model can't take an example of {split}, after step 12" in str(told)
    assert "indices[3] = 77 is not in [0, 50)" in str(told)
