import sys
from pathlib import Path

import pytest

from tfscale.errors import ConfigError
from tfscale.supervise.commands import (
    going_on,
    refuse_own,
    run_dir_of,
    supervised_commands,
    worker_commands,
)


@pytest.mark.parametrize(
    ("worker_flags", "run_dir"),
    [
        (["--run_dir=runs/a", "--epochs=1"], "runs/a"),
        (["--epochs=1", "--run_dir", "runs/a"], "runs/a"),
        (["-run_dir=runs/a"], "runs/a"),
        (["--run_dir=a", "--run_dir=b"], "b"),
        (["--run_dir=a=b"], "a=b"),
        (["--run_dirs=a"], None),
        (["--run_dir"], None),
        (["--run_dir="], None),
        ([], None),
    ],
)
def test_the_run_folder_is_read_from_the_workers_flags(worker_flags, run_dir):
    assert run_dir_of(worker_flags) == (run_dir and Path.cwd() / run_dir)


def test_the_run_folder_is_the_one_that_the_workers_will_make(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert run_dir_of(["--run_dir=~/runs/a"]) == Path("/home/somebody/runs/a")
    with pytest.raises(ConfigError, match="remote store"):
        run_dir_of(["--run_dir=gs://box/run"])


def test_every_worker_gets_all_addresses_and_its_own_index():
    commands = worker_commands(Path("worker.py"), ["--x=1"], num_workers=2, devices=3)
    hosts = commands[0][3]
    assert hosts.count("127.0.0.1:") == 2
    for index, command in enumerate(commands):
        shared = [sys.executable, "worker.py", "--cluster=none", hosts]
        expected = [*shared, f"--index={index}", "--devices=3", "--x=1"]
        assert command == expected


def test_a_worker_alone_gets_neither_addresses_nor_devices_that_were_not_asked_for():
    commands = worker_commands(Path("worker.py"), ["--x=1"], num_workers=1)
    assert commands == [[sys.executable, "worker.py", "--cluster=none", "--x=1"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--restarts=3", "--x=1"], ["--restarts=3", "--x=1", "--restarts=0"]),
        (["--restarts", "3"], ["--restarts", "3", "--restarts=0"]),
        # What stands behind is no flag, and the worker refuses it.
        (["--restarts=3", "--", "--x=1"], ["--restarts=3", "--restarts=0", "--", "--x=1"]),
    ],
)
def test_a_supervised_worker_has_the_same_flags_and_no_supervisor(words, expected):
    for is_alone in (True, False):
        commands = supervised_commands(Path("worker.py"), words, processes=1, is_alone=is_alone)
        assert commands == [[sys.executable, "worker.py", *expected]]


def test_several_workers_of_a_node_among_others_differ_in_which_they_are():
    words = ["--processes_per_node=2", "--restarts=3", "--", "x"]
    commands = supervised_commands(Path("worker.py"), words, processes=2, is_alone=False)
    shared = [sys.executable, "worker.py", *words[:2], "--restarts=0"]
    assert commands == [[*shared, f"--process_of_node={place}", "--", "x"] for place in (0, 1)]


def test_several_workers_of_the_only_node_get_addresses_whatever_the_shell_says():
    words = ["--processes_per_node=2", "--hosts=node0:2222", "--cluster=slurm"]
    commands = supervised_commands(Path("worker.py"), words, processes=2, is_alone=True)
    for index, command in enumerate(commands):
        *_, cluster, processes, hosts, own_index = command
        assert (cluster, processes) == ("--cluster=none", "--processes_per_node=1")
        assert hosts == commands[0][-2]
        assert hosts.count("127.0.0.1:") == 2
        assert own_index == f"--index={index}"


def test_an_attempt_that_goes_on_does_not_overwrite_what_it_goes_on_from():
    words = ["--overwrite", "--x=1"]
    assert going_on(words, goes_on=False) == words
    assert going_on(words, goes_on=True) == ["--overwrite", "--x=1", "--nooverwrite"]


@pytest.mark.parametrize(
    "word", ["--restarts=3", "-restarts=3", "--restarts", "--hosts", "--index=1", "--cluster=slurm"]
)
def test_what_a_launcher_says_to_its_workers_is_refused_behind_it(word):
    with pytest.raises(ConfigError, match="came behind the `--`.* --workers=2 --restarts=3 -- "):
        refuse_own(["--epochs=3", word], "launch/local.py --workers=2")


def test_other_words_are_not_taken_for_restarts():
    refuse_own(["--run_dir=restarts", "restarts=3", "--restarts_of=3"], "launch/local.py")
