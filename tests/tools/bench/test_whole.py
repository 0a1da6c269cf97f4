import json
import sys

import pytest

from tfscale.errors import WorkerError
from tools.bench import module_commands, whole
from tools.bench.module_commands import on_own_cores
from tools.bench.programs.task import WholeTask
from tools.bench.whole import KINDS, Run, Whole

MEASURED = {
    "tfscale": [Whole(10.0, 4.0, 90.0), Whole(12.0, 5.0, 80.0), Whole(11.0, 4.5, 100.0)],
    "tfscale, each alone": [Whole(9.0, 3.0, 100.0)] * 3,
    "stock": [Whole(20.0, 5.0, 50.0), Whole(30.0, 4.0, 40.0), Whole(22.0, 4.5, 45.0)],
}


def test_ratios_are_those_of_medians_with_the_range_of_neighbours():
    text = whole.markdown(MEASURED)
    assert "0.900 (0.800 to 1.000) times as fast as each alone" in text
    assert "0.500 (0.400 to 0.500) of the time, the first step 1.000 (0.800 to 1.250)" in text
    assert "| tfscale | 11 (10 to 12) | 4.5 (4 to 5) | 90 (80 to 100) |" in text


def test_every_kind_runs_once_a_block_in_turns_that_change(monkeypatch):
    ran = []

    def run(program, tasks, prefixes):
        together = tasks[0].hosts != ()
        # Workers together share the cores by themselves.
        own = [] if together else [on_own_cores(2, 0), on_own_cores(2, 1)]
        assert prefixes == own
        ran.append((program, together))
        assert len(tasks) == 2
        assert len({task.folder for task in tasks}) == (1 if together else 2)
        answer = {"first_step": 103.0, "fit_seconds": 8.0}
        return Run(100.0, 110.0, [answer, {**answer, "fit_seconds": 10.0}])

    monkeypatch.setattr(whole, "run", run)
    measured = whole.measure(blocks=2, epochs=3, steps=5, say=lambda line: None)
    order = list(KINDS.values())
    assert ran == [*order, *reversed(order)]
    # Two workers' 64 images, 5 steps, 3 epochs, in the slower one's 10 seconds.
    assert measured["stock"] == [Whole(10.0, 3.0, 2 * 64 * 5 * 3 / 10)] * 2


def test_a_program_that_fails_ends_the_measurement(monkeypatch):
    def run(program, tasks, prefixes):
        raise WorkerError(f"{program} ended with code 1")

    monkeypatch.setattr(whole, "run", run)
    with pytest.raises(WorkerError, match="ours ended with code 1"):
        whole.measure(blocks=1, epochs=1, steps=1, say=lambda line: None)


def test_the_files_hold_every_run(tmp_path):
    whole.write(MEASURED, tmp_path)
    written = json.loads((tmp_path / "whole.json").read_text())
    assert [run["process_seconds"] for run in written["stock"]] == [20.0, 30.0, 22.0]
    assert (tmp_path / "whole.md").read_text() == whole.markdown(MEASURED)


# The run of a program.


@pytest.fixture
def program_is(tmp_path, monkeypatch):
    """Puts a short script in the place of every program."""

    def put(source):
        script = tmp_path / "program"
        script.write_text(f"#!{sys.executable} -S\nimport json, os, sys, time\n" + source)
        script.chmod(0o755)
        monkeypatch.setattr(module_commands.sys, "executable", str(script))

    return put


TASKS = [WholeTask(("a:1", "b:1"), index) for index in range(2)]


def test_a_run_lasts_until_its_last_process_has_ended(program_is):
    program_is("""
task = json.loads(sys.argv[-1])
print(json.dumps({"index": task["index"], "seen": os.environ.get("SEEN")}), flush=True)
time.sleep(0.3 * task["index"])
""")
    run = whole.run("ours", TASKS, [["env", "SEEN=first"], ["env", "SEEN=second"]])
    assert run.answers == [{"index": 0, "seen": "first"}, {"index": 1, "seen": "second"}]
    assert run.end - run.start >= 0.3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "if json.loads(sys.argv[-1])['index']: sys.exit('no memory')\ntime.sleep(60)\n",
            "ours, worker 1 ended. The end of its log:\nno memory",
        ),
        ("print('{}', flush=True)\nsys.exit('late')\n", "ended with code 1.*\nlate"),
    ],
)
def test_a_program_that_ends_wrongly_is_named_with_the_end_of_its_log(program_is, source, message):
    program_is(source)
    with pytest.raises(WorkerError, match=message):
        whole.run("ours", TASKS)


def test_a_program_that_does_not_end_is_named(program_is, monkeypatch):
    monkeypatch.setattr(whole, "_DEADLINE_SECONDS", 1.0)
    program_is("print('{}', flush=True)\ntime.sleep(60)\n")
    with pytest.raises(WorkerError, match="ours, worker 0 did not end in time"):
        whole.run("ours", TASKS)
