import os
import signal
import subprocess
import sys
import threading

from tfscale.process.signals import heard

BLOCKED = """
import ctypes, os, signal, sys
from tfscale.process.signals import heard

def then(number):
    print(number.name, flush=True)
    if number == signal.SIGTERM:
        os._exit(3)

with heard(then):
    print("ready", flush=True)
    while True:
        ctypes.CDLL(None).sleep(60)  # in C, where other threads run; a signal ends it early
"""


def test_signals_are_heard_while_the_main_thread_is_in_c():
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, text=True) as it:
        try:
            assert it.stdout.readline() == "ready\n"
            it.send_signal(signal.SIGINT)
            assert it.stdout.readline() == "SIGINT\n"
            it.send_signal(signal.SIGTERM)
            assert it.stdout.readline() == "SIGTERM\n"
            assert it.wait(30) == 3
        finally:
            it.kill()


def test_handlers_are_what_they_were_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    come, told = threading.Event(), []
    with heard(lambda number: (told.append(number), come.set())):
        os.kill(os.getpid(), signal.SIGTERM)
        assert come.wait(20)
    assert told == [signal.SIGTERM]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_hears_nothing_and_is_not_disturbed():
    done = []

    def work():
        with heard(lambda number: None):
            done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert done == [signal.getsignal(signal.SIGTERM)]
