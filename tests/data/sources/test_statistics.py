"""What a dataset file learns from its training data: made once, the same everywhere, kept."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.examples.examples import ExampleMaker
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.statistics import with_statistics
from tfscale.errors import ConfigError

GIVEN = {
    "vocabulary": ["a", b"b"],
    "mean": np.float32(0.25),
    "table": np.arange(4).reshape(2, 2),
    "size": tf.constant(3),
    "num_classes": 7,
}
LEARNED = {
    **{"vocabulary": ["a", "b"], "mean": 0.25, "table": [[0, 1], [2, 3]]},
    **{"size": 3, "num_classes": 7},
}


class OneWorker:
    is_chief = True

    def broadcast(self, channel, text):
        self.said = text
        return text


class Other:
    """A worker that hears what the chief has said."""

    is_chief = False

    def __init__(self, said):
        self.said = said

    def broadcast(self, channel, text):
        assert text == ""
        return self.said


def _file(statistics, **more):
    return read_dataset_file(
        SimpleNamespace(
            __name__="mine", load=lambda split: None, statistics=statistics, limit=5, **more
        )
    )


def test_every_worker_has_what_the_chief_has_learned():
    chief = OneWorker()
    file = with_statistics(_file(lambda: GIVEN), chief, None)
    assert (file.learned, file.num_classes) == (LEARNED, 7)
    assert file.constants == {"limit": 5, **LEARNED}
    other = with_statistics(_file(lambda: pytest.fail("called")), Other(chief.said), None)
    assert other.learned == LEARNED


def test_a_run_that_goes_on_learns_nothing_anew():
    file = with_statistics(_file(lambda: pytest.fail("called")), OneWorker(), {"mean": 0.5})
    assert file.learned == {"mean": 0.5}


def test_preprocess_gets_what_it_has_parameters_for():
    def preprocess(record, training, mean, seed, table):
        return record - mean + tf.reduce_sum(tf.cast(table, tf.float32)), seed

    file = _file(lambda data_dir: {**GIVEN, "folder": data_dir}, preprocess=preprocess)
    file = with_statistics(file, OneWorker(), None)
    assert file.learned["folder"].endswith("/data")
    make = ExampleMaker(file, training=True, seed=0)
    zero = tf.constant(0, tf.int64)
    value, seed = make(tf.constant(1.0), zero, zero)
    assert (float(value), seed.shape) == (1 - 0.25 + 6, (2,))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1], "returned list; expected a dict of values by their names"),
        ({1: 2}, "returned dict; expected a dict of values by their names"),
        ({"a": object()}, "can't be kept as JSON .a value of object."),
        ({"a": float("nan")}, "can't be kept as JSON"),
        ({"a": "x" * 2**25}, "gave 32 MiB of text; expected at most 16 MiB"),
    ],
)
def test_what_cannot_be_kept_is_refused(given, words):
    with pytest.raises(ConfigError, match=rf"^mine: statistics\(\) .*{words}"):
        with_statistics(_file(lambda: given), OneWorker(), None)


def test_a_function_that_fails_is_named():
    with pytest.raises(ConfigError, match=r"mine: statistics\(\) raised ZeroDivisionError"):
        with_statistics(_file(lambda: 1 / 0), OneWorker(), None)
