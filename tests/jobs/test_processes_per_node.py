"""`--processes_per_node`: a node's command starts several workers."""

import json
import socket
import sys
from contextlib import closing

import pytest

from tests.jobs.workers import ROOT, start_all, worker_commands

pytestmark = pytest.mark.long

DEADLINE_SECONDS = 240
FLAGS = ["--dataset=datasets/digits.py", "--model=models/mlp.py", "--batch_size=64", "--epochs=2"]


def _report(run_dir):
    return json.loads((run_dir / "report.json").read_text())


def _expected(folder, workers):
    commands = worker_commands([*FLAGS, f"--run_dir={folder}"], num_workers=workers)
    ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS, is_warm=True)
    assert [one.code for one in ended] == [0] * workers
    return _report(folder)["weights_sha256"]


def _command(run_dir, *more):
    return [sys.executable, str(ROOT / "launch/worker.py"), *FLAGS, f"--run_dir={run_dir}", *more]


def _is_free(port):
    with closing(socket.socket()) as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


def _free_pair(first):
    """Two ports that follow each other."""
    return next(
        port for port in range(first, first + 999, 2) if all(map(_is_free, (port, port + 1)))
    )


def test_a_machine_alone_trains_with_several_workers(tmp_path):
    run_dir = tmp_path / "run"
    command = _command(run_dir, "--processes_per_node=2")
    environ = {"TF_CONFIG": '{"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker"}}'}
    (ended,) = start_all([command], deadline_seconds=DEADLINE_SECONDS, environ=environ)
    assert ended.code == 0, ended.out + ended.err
    assert _report(run_dir)["workers"] == 2
    assert _report(run_dir)["weights_sha256"] == _expected(tmp_path / "two", 2)


def test_two_nodes_train_with_two_workers_each(tmp_path):
    run_dir = tmp_path / "run"
    ports = [_free_pair(21000), _free_pair(23000)]
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    nodes = [
        _command(
            run_dir, "--processes_per_node=2", "--restarts=1", f"--hosts={hosts}", f"--index={i}"
        )
        for i in (0, 1)
    ]
    ended = start_all(nodes, deadline_seconds=DEADLINE_SECONDS)
    assert [one.code for one in ended] == [0, 0], ended
    report = _report(run_dir)
    assert report["workers"] == 4
    assert report["weights_sha256"] == _expected(tmp_path / "four", 4)
    assert (run_dir / "logs" / "worker-3.log").exists()


def test_a_worker_that_fails_ends_the_workers_of_its_node_and_of_the_others(tmp_path):
    ports = [_free_pair(25000), _free_pair(27000)]
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    flags = ["--processes_per_node=2", f"--hosts={hosts}"]
    bad = ["--model_option=no_such=1"]
    nodes = [_command(tmp_path / "run", *flags, *bad, f"--index={index}") for index in (0, 1)]
    ended = start_all(nodes, deadline_seconds=DEADLINE_SECONDS)
    assert [one.code for one in ended] == [2, 2], ended
    assert "no_such" in ended[0].out + ended[0].err
    assert not (tmp_path / "run").exists()
