import json
import sys

import pytest

from tools.gpu_check.session import against_plain_keras, run
from tools.gpu_check.steps import Step


def _step(name, program, limit=60.0):
    return Step(name, f"what {name} tells", (sys.executable, "-c", program), limit)


def _ended(tmp_path, *asked, seconds=60.0):
    said = []
    found = run(asked, tmp_path / "out", seconds=seconds, root=tmp_path, say=said.append)
    return found, said


def test_steps_run_in_their_order_and_leave_a_log_each(tmp_path):
    found, said = _ended(tmp_path, _step("one", "print('hello')"), _step("two", "exit(3)"))
    assert [(one.name, one.code, one.result) for one in found] == [
        ("one", 0, "ok"),
        ("two", 3, "exit code 3"),
    ]
    assert said[0] == "1 of 2: what one tells"
    assert (tmp_path / "out" / "logs" / "one.log").read_text() == "hello\n"
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert "| two | what two tells | exit code 3 |" in summary


def test_a_step_that_hangs_is_ended_at_its_limit_and_the_next_one_runs(tmp_path):
    hanging = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    found, _ = _ended(tmp_path, _step("hangs", hanging, 1.0), _step("next", "pass"))
    assert [one.result for one in found] == ["ended at its limit", "ok"]


def test_a_program_that_is_not_there_ends_nothing(tmp_path):
    missing = Step("driver", "nothing", ("no-such-program",), 10.0)
    found, _ = _ended(tmp_path, missing, _step("next", "pass"))
    assert [one.code for one in found] == [127, 0]
    assert "No such file" in (tmp_path / "out" / "summary.md").read_text()


def test_what_has_no_time_left_is_not_begun_and_said(tmp_path):
    program = "open('begun', 'w')"
    found, said = _ended(tmp_path, _step("late", program), seconds=1.0)
    assert [one.result for one in found] == ["no time left"]
    assert said == []
    assert not (tmp_path / "begun").exists()


def test_the_summary_has_what_the_benchmarks_measured_so_far(tmp_path):
    row = {"profile": "full-resnet", "system": "tfscale", "workers": 1, "more": 0}
    (tmp_path / "out" / "a").mkdir(parents=True)
    rows = [row | {"examples_per_second": 90.0}]
    rows += [row | {"system": "plain_keras", "examples_per_second": 100.0}]
    (tmp_path / "out" / "a" / "scaling.json").write_text(json.dumps(rows))
    _ended(tmp_path, _step("one", "pass"))
    assert (
        "| full-resnet | tfscale | 1 | 90 | 90.0 % |"
        in (tmp_path / "out" / "summary.md").read_text()
    )
    kept = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [one["examples_per_second"] for one in kept["rates"]] == [90.0, 100.0]


@pytest.mark.parametrize(
    ("system", "share"),
    [
        ("tfscale:precision=mixed_float16", "50.0 %"),
        ("tfscale:jit=1:precision=mixed_float16", ""),  # against nothing else than its like
        ("plain_keras:precision=mixed_float16", ""),
    ],
)
def test_a_rate_is_compared_with_plain_keras_of_the_same_options(system, share):
    base = {"profile": "r", "workers": 1, "run": "a"}
    plain = base | {"system": "plain_keras:precision=mixed_float16", "examples_per_second": 200.0}
    rows = [plain, base | {"system": system, "examples_per_second": 100.0}]
    rows = rows[:1] if system.startswith("plain") else rows
    assert against_plain_keras(rows)[-1].endswith(f" {share} |")


def test_a_rate_is_compared_within_its_own_run_where_that_has_both():
    row = {"profile": "r", "workers": 1, "examples_per_second": 100.0}
    rows = [
        row | {"run": "a", "system": "plain_keras", "examples_per_second": 200.0},
        row | {"run": "a", "system": "tfscale"},
        row | {"run": "b", "system": "plain_keras"},
        row | {"run": "c", "system": "tfscale"},
        row | {"run": "a", "system": "tfscale", "workers": 2},
    ]
    shares = [line.split("|")[-2].strip() for line in against_plain_keras(rows)[2:]]
    assert shares == ["", "50.0 %", "", "100.0 %", ""]
