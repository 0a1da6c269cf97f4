import pytest

from tfscale.config import OPTIMIZERS, Config
from tfscale.model.learning_rate import DEFAULT_LEARNING_RATES, learning_rate


def _config(**settings):
    return Config(run_dir="runs/first", **settings)


def _rate(steps_per_epoch=100, **settings):
    return learning_rate(_config(**settings), steps_per_epoch=steps_per_epoch)


def _values(rate, steps):
    schedule = rate.as_schedule()
    return [float(schedule(step)) for step in steps]


def test_the_peak_grows_linearly_with_the_global_batch():
    peaks = [_rate(batch_size=batch, learning_rate=0.1).peak for batch in (64, 256, 1024)]
    assert peaks == pytest.approx([0.025, 0.1, 0.4])


def test_the_peak_is_for_the_batch_that_it_is_meant_for():
    assert _rate(batch_size=64, base_batch_size=64, learning_rate=0.1).peak == pytest.approx(0.1)


def test_every_name_of_the_config_has_a_default_rate():
    assert set(DEFAULT_LEARNING_RATES) == set(OPTIMIZERS)
