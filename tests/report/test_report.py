import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from tests.report.boundaries import times_of
from tfscale.cluster.cluster import Cluster
from tfscale.gradients.reducer import Traffic
from tfscale.report import tables
from tfscale.report.report import Finished, report_of
from tfscale.report.step_times import StepTimes
from tfscale.settings import Config
from tfscale.startup.devices import Devices

TRAFFIC = Traffic(3, 8 * 2**20, 4 * 2**20, 1, 2)
SECONDS = {"startup": 1.0, "train": 8.0, "total": 10.0}


# Warm-up of 60 s, then ten steps of 0.1 s of which a quarter was waiting.
FINISHED = Finished(
    times=times_of((1, 60.0, 50.0), (10, 1.0, 0.25)),
    epochs=1,
    seconds=SECONDS,
    metrics={"loss": 0.5, "accuracy": 0.875},
    weights_sha256="abc",
    model_file="model.keras",
    load_command="python load_model.py",
)
PREPARED = SimpleNamespace(
    distributed=SimpleNamespace(
        step=11,
        parts=SimpleNamespace(traffic=TRAFFIC),
        loop=SimpleNamespace(exchange=SimpleNamespace(sent_bytes=512.0)),
    ),
    buckets=SimpleNamespace(size_bytes=2**22),
)


def _report(replicas=1, **changes):
    job = SimpleNamespace(
        cluster=Cluster(),
        devices=Devices("CPU", replicas, ("CPU",) * replicas),
        config=Config(run_dir="runs/first", batch_size=32),
    )
    return report_of(job, PREPARED, replace(FINISHED, **changes))


def test_the_report_has_the_keys_that_no_listener_adds():
    assert set(_report()) == {
        "schema_version",
        "workers",
        "replicas",
        "devices",
        "global_batch",
        "steps",
        "epochs",
        "examples_per_second",
        "step_seconds",
        "share_of_step",
        "accelerator_utilisation",
        "input",
        "communication",
        "scaling_efficiency",
        "seconds",
        "metrics",
        "weights_sha256",
        "model",
        "versions",
    }


def test_the_report_has_the_rate_and_the_time_of_measured_steps_alone():
    report = _report()
    assert report["examples_per_second"] == pytest.approx(
        {"median": 320.0, "p10": 320.0, "p90": 320.0}
    )
    assert report["step_seconds"] == pytest.approx({"median": 0.1, "p95": 0.1})


def test_one_replica_communicates_nothing_and_computes_while_it_does_not_wait():
    assert _report(replicas=1)["share_of_step"] == pytest.approx(
        {"input_wait": 0.25, "compute": 0.75, "exposed_communication": 0.0}
    )


def test_what_backward_does_not_hide_is_neither_computing_nor_waiting():
    times = times_of((1, 60.0, 50.0, 9.0, 9.0), (10, 1.0, 0.25, 0.5, 0.8))
    report = _report(replicas=2, times=times, alone_seconds=0.09)
    assert report["share_of_step"] == pytest.approx(
        {"input_wait": 0.25, "compute": 0.25, "exposed_communication": 0.5}
    )
    assert report["communication"] == {
        "buckets": 3,
        "bucket_bytes": 2**22,
        "gradient_bytes": 8 * 2**20,
        "sent_bytes_per_step": 4 * 2**20,
        "bus_bandwidth": pytest.approx(4 * 2**20 / 0.08),
        "sent_bytes_per_boundary": 512.0,
        "sparse_gradients": 1,
        "densified_gradients": 2,
    }
    assert report["scaling_efficiency"] == pytest.approx(0.9)
    rows = tables.closing_rows(report, "runs/first")
    assert rows["communication"] == (
        "50 % of a step exposed; 4.00 MiB a step in 3 buckets, 0.0524 GB/s; 1 gradients of rows "
        "travel as rows, 2 as full ones"
    )
    assert rows["scaling efficiency"] == "90.0 % of one replica's"


def test_what_was_not_measured_is_null_and_not_a_guess():
    report = _report(replicas=1)
    assert report["scaling_efficiency"] is None
    assert report["communication"]["bus_bandwidth"] is None
    rows = tables.closing_rows(report, "runs/first")
    assert not {"communication", "scaling efficiency"} & set(rows)


def test_the_report_is_json_and_reads_back_the_same():
    report = _report()
    assert json.loads(json.dumps(report)) == report


def test_a_run_without_a_step_has_no_report():
    with pytest.raises(ValueError, match="No step was timed"):
        _report(times=StepTimes())


def test_a_table_has_a_title_and_a_row_for_each_setting():
    text = tables.table("tfscale", {"workers": "1 (this machine)", "steps": 19})
    title, *rows = text.splitlines()
    assert title.strip() == "tfscale"
    assert [row.split() for row in rows] == [["workers", "1", "(this", "machine)"], ["steps", "19"]]


def test_a_long_value_of_a_table_is_folded_and_never_cut():
    value = "".join(f"node{number}:12345," for number in range(40))
    text = tables.table("tfscale", {"workers": value})
    assert value in "".join(line.replace("workers", "").strip() for line in text.splitlines()[1:])
    assert max(map(len, text.splitlines())) <= tables._WIDTH


def test_a_table_shows_brackets_as_they_are():
    assert "[::1]:2222" in tables.table("tfscale", {"workers": "[::1]:2222"})
    assert "data/[train]" in tables.table("tfscale", {"data": "data/[train]"})


def test_a_table_has_no_colour_codes_and_no_spaces_at_the_end():
    text = tables.table("tfscale", {"workers": 1, "steps": 19})
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_markdown_is_a_table_whose_cells_hold_together():
    assert tables.markdown({"optimizer": "sgd", "choice": "a|b"}).splitlines() == [
        "| setting | value |",
        "| --- | --- |",
        "| optimizer | sgd |",
        "| choice | a/b |",
    ]


def test_the_closing_table_says_what_came_out():
    rows = tables.closing_rows(_report(), "runs/first")
    assert rows["result"] == "loss 0.5000, accuracy 0.8750"
    assert rows["speed"] == "320 examples/s (320 to 320), 100.0 ms a step"
    assert rows["waiting for input"] == "25 % of a step"
    assert rows["time"] == "startup 1.0 s, train 8.0 s, total 10.0 s"


def test_what_to_type_next_names_the_programs_of_this_environment():
    curves, model = tables.next_commands("runs/first").splitlines()
    program = curves.split("curves:")[1].split()[0]
    assert Path(program).resolve() == Path(sys.executable).with_name("tensorboard").resolve()
    assert curves.endswith("tensorboard --logdir runs/first/tensorboard")
    assert f'load_model("{Path("runs/first/model.keras").resolve()}")' in model
    given = tables.next_commands("runs/first", "python load_model.py").splitlines()
    assert given == [curves, "  model:   python load_model.py"]


HOSTILE = [
    "runs/first",
    "my run",
    "it's",
    'say "so"',
    "both ' and \"",
    "$HOME/`id`",
    "back\\slash",
    "bang!",
    "a;b&c|d>e",
    "-rf",
    "~somebody",
    "*?[x]",
    "{a,b}",
    "Ä 漢",
    "#hash",
]
# In the place of Python and TensorBoard: says what a shell has made of the command.
SAYS_ARGUMENTS = '#!/bin/sh\nprintf \'%s\\0\' "$0" "$@"\n'


def _typed(command):
    """The words that reach the program when somebody types the command."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, ""), command
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("folder", HOSTILE)
def test_what_to_type_next_survives_a_shell(folder, tmp_path, monkeypatch):
    programs = tmp_path / "own 'programs' $here"
    programs.mkdir()
    for name in ("python", "tensorboard"):
        (programs / name).write_text(SAYS_ARGUMENTS)
        (programs / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    for here in (tmp_path, programs):  # the programs are named from where somebody is
        monkeypatch.chdir(here)
        curves, model = tables.next_commands(folder).splitlines()
        program, flag, logs = _typed(curves.partition("curves:")[2])
        assert Path(program).resolve() == programs / "tensorboard"
        assert (flag, Path(logs)) == ("--logdir", Path(folder) / "tensorboard")
        program, flag, code = _typed(model.partition("model:")[2])
        assert Path(program).resolve() == programs / "python"
        assert flag == "-c"
        keras = MagicMock()
        monkeypatch.setitem(sys.modules, "keras", keras)
        exec(code, {})  # noqa: S102 - what that Python would do
        ((loaded,), _) = keras.saving.load_model.call_args
        assert Path(loaded) == here / folder / "model.keras"  # from whatever folder it is typed in
        # Neither an option of the program nor somebody's home.
        assert not logs.startswith(("-", "~")) and not loaded.startswith(("-", "~"))


def test_a_python_without_tensorboard_beside_it_calls_the_module(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    curves, _ = tables.next_commands("runs/first").splitlines()
    assert curves.endswith(f"{tmp_path}/python -m tensorboard.main --logdir runs/first/tensorboard")


def test_a_metric_that_is_no_single_number_has_no_place_in_the_closing_table():
    rows = tables.closing_rows(_report(metrics={"loss": 0.5, "per_class": [0.1, 0.9]}), "r")
    assert rows["result"] == "loss 0.5000"


def test_the_closing_table_names_the_file_that_the_model_is_in():
    files = tables.closing_rows(_report(model_file="model.weights.h5"), "r")["files"]
    assert "config.json, model.weights.h5, tensorboard/" in files
    nothing = tables.closing_rows(_report(model_file=""), "r")["files"]
    assert "config.json, tensorboard/" in nothing


def test_a_small_loss_is_shown_with_its_digits():
    metrics = {"loss": 0.0000321, "val_loss": 0.0, "error": -0.0004, "accuracy": 0.5}
    rows = tables.closing_rows(_report(metrics=metrics), "r")
    assert rows["result"] == "loss 3.210e-05, val_loss 0.0000, error -4.000e-04, accuracy 0.5000"
