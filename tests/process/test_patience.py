import threading

from tfscale.process.patience import do_within, tell_if_long


def test_work_that_is_quick_is_waited_for():
    done = []
    assert do_within(60.0, lambda: done.append(True))
    assert done == [True]


def test_work_that_hangs_holds_nobody_up():
    hang = threading.Event()
    assert not do_within(0.01, hang.wait)
    hang.set()


def test_what_lasts_long_is_told_of_as_soon_as_there_is_something_to_tell():
    asked, told = [], threading.Event()

    def tell():
        asked.append(len(asked))
        if len(asked) == 3:
            told.set()
        return told.is_set()

    with tell_if_long(0.0, tell, again_seconds=0.0):
        assert told.wait(20)
    assert asked == [0, 1, 2]


def test_what_is_over_soon_is_not_told_of():
    asked = []
    with tell_if_long(60.0, lambda: bool(asked.append(1))):
        pass
    assert asked == []
