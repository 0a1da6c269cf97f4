import subprocess
import sys

import pytest

from tests.supervise.sources import DEADLINE_SECONDS, FOREVER, ROOT, command
from tfscale.errors import FAILURE_CODE, WorkerError, describe_failure
from tfscale.supervise.answers import Workers


def _workers(*sources):
    return Workers((f"worker {n}", command(source)) for n, source in enumerate(sources))


def test_each_answers_each_order_in_the_order_of_their_start():
    echoes = "for line in sys.stdin: print('{\"seen\": ' + line.strip() + '}', flush=True)"
    doubles = "for line in sys.stdin: print('{\"seen\": ' + str(2 * int(line)) + '}', flush=True)"
    with _workers(echoes, doubles) as workers:
        for number in (1, 2):
            workers.order(str(number))
            answers = workers.answers(DEADLINE_SECONDS)
            assert answers == [{"seen": number}, {"seen": 2 * number}]


def test_a_line_that_is_no_answer_is_shown_with_its_worker():
    with _workers("print('Hello')") as workers, pytest.raises(WorkerError) as raised:
        workers.answers(DEADLINE_SECONDS)
    assert str(raised.value) == "worker 0 wrote 'Hello\\n', which is no answer"


def test_workers_that_ended_well_are_finished():
    with _workers("print('{}')", "print('{}')") as workers:
        workers.answers(DEADLINE_SECONDS)
        workers.finish(DEADLINE_SECONDS)


def test_a_worker_that_has_finished_takes_no_orders():
    with _workers("") as workers:
        workers.finish(DEADLINE_SECONDS)
        with pytest.raises(WorkerError, match="worker 0 ended"):
            workers.order("1")


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("sys.exit('no memory')", "ended with code 1. The end of its log:\nno memory"),
        ("os.kill(os.getpid(), 11)", "ended by signal 11"),
    ],
)
def test_how_a_worker_failed_is_said(source, what):
    with _workers(source) as workers, pytest.raises(WorkerError) as raised:
        workers.finish(DEADLINE_SECONDS)
    assert str(raised.value) == f"worker 0 {what}"


def test_the_cause_is_in_the_line_that_a_program_shows():
    source = "sys.stderr.write('x' * 500 + '\\nValueError: no memory\\n'); sys.exit(1)"
    with _workers(FOREVER, source) as workers, pytest.raises(WorkerError) as raised:
        workers.answers(DEADLINE_SECONDS)
    expected = ("worker 1 ended: ValueError: no memory", FAILURE_CODE)
    assert describe_failure(raised.value) == expected


def test_what_a_module_prints_is_no_answer_and_it_ends_with_its_input():
    source = (
        "from tfscale.supervise.answers import answering, listening\n"
        "answer, orders = answering(), listening()\n"
        "print('Hello', flush=True)\n"
        "for order in orders: answer(seen=int(order))\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, text=True, **pipes) as process:
        try:
            process.stdin.write("7\n")
            process.stdin.flush()
            assert process.stdout.readline() == '{"seen": 7}\n'
            out, log = process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            process.kill()
    assert (process.returncode, out, log) == (0, "", "Hello\n")
