import math

import pytest

from tfscale.model.learning_rate import SCALED_DEFAULTS, learning_rate
from tfscale.model.optimizers import KINDS
from tfscale.settings import SETTINGS, Config


def _config(**settings):
    return Config(run_dir="runs/first", **settings)


def _rate(steps_per_epoch=100, **settings):
    return learning_rate(_config(**settings), steps_per_epoch=steps_per_epoch)


def _values(rate, steps):
    schedule = rate.as_schedule()
    return [float(schedule(step)) for step in steps]


def test_a_rate_that_is_given_is_the_rate_of_the_run_whatever_the_batch_is():
    peaks = [_rate(batch_size=batch, learning_rate=0.003).peak for batch in (32, 256, 1024)]
    assert peaks == [0.003] * 3


def test_the_peak_grows_linearly_with_the_global_batch_where_that_is_asked_for():
    sizes = {"learning_rate": 0.1, "base_batch_size": 128}
    peaks = [_rate(batch_size=batch, **sizes).peak for batch in (64, 128, 512)]
    assert peaks == pytest.approx([0.05, 0.1, 0.4])


@pytest.mark.parametrize("optimizer", SETTINGS["optimizer"].choices)
def test_without_a_rate_each_optimizer_has_its_own_default(optimizer):
    peaks = [_rate(batch_size=batch, optimizer=optimizer).peak for batch in (256, 512)]
    if optimizer in SCALED_DEFAULTS:
        default = SCALED_DEFAULTS[optimizer]
        assert peaks == pytest.approx([default, 2 * default])
    else:
        assert peaks == pytest.approx([KINDS[optimizer]().get_config()["learning_rate"]] * 2)


def test_the_warm_up_is_a_share_of_all_steps_of_all_epochs():
    rate = _rate(steps_per_epoch=50, epochs=4, warmup_fraction=0.1)
    assert (rate.warmup_steps, rate.total_steps) == (20, 200)


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine_to_zero():
    rate = _rate(batch_size=256, learning_rate=0.4, warmup_fraction=0.2)
    steps = [0, 5, 10, 20, 40, 60, 80, 100]
    expected = [
        0.4 * step / 20 if step < 20 else 0.4 * 0.5 * (1 + math.cos(math.pi * (step - 20) / 80))
        for step in steps
    ]
    assert _values(rate, steps) == pytest.approx(expected, abs=1e-7)


def test_a_constant_rate_stays_at_its_peak_after_the_warm_up():
    rate = _rate(batch_size=256, learning_rate=0.4, warmup_fraction=0.2, schedule="constant")
    assert _values(rate, [0, 10, 20, 50, 100, 1000]) == pytest.approx([0, 0.2, 0.4, 0.4, 0.4, 0.4])


def test_without_a_warm_up_the_cosine_starts_at_the_peak():
    rate = _rate(batch_size=256, learning_rate=0.4, warmup_fraction=0)
    assert _values(rate, [0, 50, 100]) == pytest.approx([0.4, 0.2, 0.0], abs=1e-7)


def test_a_run_that_is_all_warm_up_ends_at_the_peak():
    rate = _rate(batch_size=256, learning_rate=0.4, warmup_fraction=1)
    assert _values(rate, [0, 50, 100]) == pytest.approx([0.0, 0.2, 0.4])


def test_a_run_of_one_step_has_a_rate():
    assert _values(_rate(steps_per_epoch=1, batch_size=256, learning_rate=0.4), [0]) == (
        pytest.approx([0.4])
    )


def test_the_rate_says_how_it_came_about():
    course = "at its highest; 2 steps of warm-up, then cosine, 38 steps in all"
    sizes = {"steps_per_epoch": 19, "batch_size": 64, "epochs": 2}
    assert str(_rate(**sizes, learning_rate=0.1)) == f"0.1 {course}"
    assert str(_rate(**sizes)) == f"0.025 = 0.1 x 64 / 256 {course}"
    assert str(_rate(**sizes, learning_rate=0.1, base_batch_size=32)) == (
        f"0.2 = 0.1 x 64 / 32 {course}"
    )
