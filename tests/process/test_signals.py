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


def test_a_handler_that_somebody_else_has_set_waits_until_the_training_is_over():  # T12
    theirs, ours, come = [], [], threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: theirs.append(number))
    try:
        with heard(lambda number: (ours.append(number), come.set())):
            os.kill(os.getpid(), signal.SIGTERM)
            assert come.wait(20)
        assert (ours, theirs) == ([signal.SIGTERM], [])
        signal.raise_signal(signal.SIGTERM)
        assert theirs == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_hears_nothing_and_is_not_disturbed():
    done = []

    def work():
        with heard(lambda number: None):
            done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert done == [signal.getsignal(signal.SIGTERM)]


# Ends forks of its main thread and of another one, some at once; only the last signal is its own.
FORKS = """
import os, signal, threading, time
from tfscale.process.signals import heard

def ended_fork(pause):
    ready, said = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(said, b"x")
        while True:
            time.sleep(60)
    if pause:
        os.read(ready, 1)
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

told, come = [], threading.Event()
with heard(lambda number: (told.append(number.name), come.set())):
    codes = [ended_fork(number % 2) for number in range(40)]
    thread = threading.Thread(target=lambda: codes.append(ended_fork(True)))
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGINT)
    come.wait(20)
print(set(codes), told)
"""


def test_what_ends_a_fork_is_not_heard_as_if_it_had_been_sent_here():
    command = [sys.executable, "-c", FORKS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("{-15} ['SIGINT']\n", "")
