import math

import pytest

from tfscale.health.deadlines import BETWEEN, DATA, END, EVALUATION, SAVING, START, STEP, Deadlines


def test_reading_data_has_no_limit_and_everything_else_has():
    for given in (0.0, 5.0):
        deadlines = Deadlines(given)
        assert deadlines.of(DATA) == math.inf
        for section in (START, STEP, EVALUATION, SAVING, END, BETWEEN, "on_epoch_end"):
            assert 0 < deadlines.of(section) < math.inf


def test_a_step_may_take_five_times_the_longest_and_a_minute_at_least():
    deadlines = Deadlines()
    deadlines.saw_first_loop(100.0)
    assert deadlines.of(STEP) == 500.0
    deadlines.saw(STEP, 2.0)
    assert deadlines.of(STEP) == 60.0
    deadlines.saw(STEP, 30.0)
    deadlines.saw(STEP, 1.0)
    assert deadlines.of(STEP) == 150.0


@pytest.mark.parametrize("section", [EVALUATION, SAVING, "on_epoch_end"])
def test_what_was_not_seen_yet_may_take_half_an_hour(section):
    deadlines = Deadlines()
    assert deadlines.of(section) == 1800.0
    deadlines.saw(section, 10.0)
    assert deadlines.of(section) < 1800.0
    deadlines.saw(section, 600.0)
    assert deadlines.of(section) == 3000.0


def test_a_callback_that_seldom_saves_is_given_ten_minutes():
    deadlines = Deadlines()
    deadlines.saw("on_train_batch_end", 0.01)
    assert deadlines.of("on_train_batch_end") == 600.0


def test_what_is_given_is_for_steps_and_ten_times_as_much_for_the_rest():
    deadlines = Deadlines(30.0)
    deadlines.saw(STEP, 20.0)
    assert deadlines.of(STEP) == deadlines.of("on_train_batch_begin") == 30.0
    assert deadlines.of(EVALUATION) == deadlines.of("on_epoch_end") == 300.0
    assert deadlines.of(START) == deadlines.of(SAVING) == 1800.0
    assert Deadlines(600.0).of(START) == 6000.0
