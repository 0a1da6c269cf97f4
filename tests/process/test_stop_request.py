import signal

from tfscale.process.stop_request import StopWish


class _Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_first_signal_decides_and_a_second_one_is_urgent():
    clock = _Clock()
    stop = StopWish(clock)
    assert (stop.signal, stop.code, stop.is_urgent) == (None, 0, False)
    assert stop.note(signal.SIGINT)
    clock.now += 5.0
    assert not stop.is_urgent
    assert not stop.note(signal.SIGTERM)
    assert (stop.signal, stop.code, stop.is_urgent) == (signal.SIGINT, 130, True)


def test_what_a_scheduler_and_a_program_between_send_at_once_is_one_wish():
    clock = _Clock()
    stop = StopWish(clock)
    stop.note(signal.SIGTERM)
    clock.now += 0.5
    stop.note(signal.SIGTERM)
    assert (stop.signal, stop.is_urgent) == (signal.SIGTERM, False)
