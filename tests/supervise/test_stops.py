import os
import signal

import pytest

from tfscale.supervise.stops import Stop, noted_stops


class _Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_first_signal_decides_and_a_second_one_is_urgent():
    clock = _Clock()
    stop = Stop(clock)
    assert (stop.signal, stop.code, stop.is_urgent) == (None, 0, False)
    stop.note(signal.SIGINT)
    clock.now += 5.0
    assert not stop.is_urgent
    stop.note(signal.SIGTERM)
    assert (stop.signal, stop.code, stop.is_urgent) == (signal.SIGINT, 130, True)


def test_what_a_scheduler_and_a_program_between_send_at_once_is_one_wish():
    clock = _Clock()
    stop = Stop(clock)
    stop.note(signal.SIGTERM)
    clock.now += 0.5
    stop.note(signal.SIGTERM)
    assert (stop.signal, stop.is_urgent) == (signal.SIGTERM, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_noted_and_their_handlers_put_back(number):
    before = signal.getsignal(number)
    with noted_stops() as stop:
        os.kill(os.getpid(), number)
        assert stop.signal is number
    assert signal.getsignal(number) is before


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_stops() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
