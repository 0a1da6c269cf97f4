import math

import pytest

from tfscale.health.deadlines import DATA, EVALUATION, START, STEP
from tfscale.health.hang_verdict import Report, is_worth_a_line, judge

TWO = ("a:1", "b:1")


def _in_step(seconds=60.0, **how):
    values = {"deadline": 60.0, "waits": True, "point": 5, "step": 40, "is_in_fit": True, **how}
    return Report(STEP, "in a loop on its device", seconds, **values)


def _in_hook(seconds=60.0, **how):
    values = {"deadline": 60.0, "point": 4, "step": 40, "is_in_fit": True, **how}
    return Report("on_train_batch_end", "in on_train_batch_end of Losses", seconds, **values)


def _judged(*reports, asking=0):
    return judge(reports, TWO[: len(reports)], asking, silent=60.0)


def test_who_is_in_a_callback_is_named_and_who_waits_for_it():
    verdict = _judged(_in_step(31.0), _in_hook(31.0))
    assert verdict.line == (
        "Worker 1 at b:1 has been in on_train_batch_end of Losses for 31 s since step 40; "
        "worker 0 waits for it in step 41"
    )
    assert verdict.seconds_left == 29.0


def test_it_is_the_limit_of_who_holds_the_others_up_that_counts():
    assert _judged(_in_step(100.0), _in_hook(100.0, deadline=600.0)).seconds_left == 500.0


def test_who_doesnt_answer_is_named():
    verdict = _judged(_in_step(70.0), None)
    assert "Worker 1 at b:1 hasn't answered for 70 s" in verdict.line
    assert "worker 0 waits for it in step 41" in verdict.line
    assert verdict.seconds_left == -10.0
    assert _judged(None, _in_step()) is None


def test_who_waits_for_its_input_holds_up_who_waits_for_the_sum():
    waiting = Report(STEP, "waiting for its input", 60.0, 60.0, point=5, step=40, is_in_fit=True)
    line = _judged(waiting, _in_step()).line
    assert line.startswith("Worker 0 at a:1 has been waiting for its input for 60 s")


def test_of_two_that_are_busy_who_is_behind_is_named():
    assert _judged(_in_hook(5.0, point=9), _in_hook(60.0)).line.startswith("Worker 1")


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_decision_that_only_one_worker_has_made_is_named(is_stopped):
    gone = Report(EVALUATION, "in a loop on its device", 59.0, 1800.0, waits=True, point=5, step=40)
    gone = Report(**{**vars(gone), "is_over": True, "is_stopped": is_stopped})
    verdict = _judged(_in_step(62.0), gone)
    assert verdict.line.startswith("Worker 1 at b:1 has left training after step 40")
    assert ("stop_training was set there, and not on worker 0" in verdict.line) == is_stopped
    assert "worker 0 waits for it in step 41" in verdict.line
    assert verdict.seconds_left == 1.0  # within the step's limit, but not before both stand still


def test_workers_that_all_wait_in_one_step_name_nobody():
    assert "All workers have been in step 41 for 60 s" in _judged(_in_step(), _in_step()).line


def test_who_came_this_moment_keeps_the_others_from_ending():
    assert _judged(_in_step(90.0), _in_step(0.5)).seconds_left > 59.0


def test_a_lone_worker_has_the_same_line_without_a_who():
    verdict = judge([_in_hook(61.0)], (), 0, silent=60.0)
    assert verdict.line.startswith("This worker has been in on_train_batch_end of Losses for 61 s")
    assert verdict.seconds_left < 0
    assert judge([_in_step(61.0)], (), 0, silent=60.0).line.startswith("This worker has been in st")


def test_reading_data_is_waited_for_as_long_as_it_takes_and_said():
    reading = Report(DATA, "reading its data (load, mine.py:3)", 4000.0, math.inf)
    waiting = Report(START, "starting", 3990.0, 1800.0, waits=True)
    verdict = _judged(waiting, reading)
    assert verdict.seconds_left == math.inf
    assert "Worker 1 at b:1 has been reading its data (load, mine.py:3)" in verdict.line
    assert is_worth_a_line([waiting, reading], verdict)
    assert not is_worth_a_line([reading, reading], verdict)
    assert is_worth_a_line([reading], verdict)


def test_until_a_step_is_taken_people_are_told_of_workers_that_all_wait():
    starting = [Report(START, "starting", 60.0, 1800.0, waits=True) for _ in TWO]
    verdict = _judged(*starting)
    assert is_worth_a_line(starting, verdict)
    assert "a first step that takes long, or look at the network" in verdict.line
    assert not is_worth_a_line([_in_step(), _in_step()], _judged(_in_step(), _in_step()))


def test_a_report_travels_as_text():
    for report in (_in_hook(), Report(DATA, "reading", 1.0, math.inf)):
        assert Report.of_text(report.as_text()) == report
