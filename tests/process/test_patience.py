import threading

from tfscale.process.patience import done_within


def test_work_that_is_quick_is_waited_for():
    done = []
    assert done_within(60.0, lambda: done.append(True))
    assert done == [True]


def test_work_that_hangs_holds_nobody_up():
    hang = threading.Event()
    assert not done_within(0.01, hang.wait)
    hang.set()
