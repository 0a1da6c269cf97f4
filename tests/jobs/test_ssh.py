"""launch/ssh.py to two machines with a real `sshd` each: network namespaces with their own keys."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.jobs.nodes_here import machines, why_not
from tests.jobs.paced import PACED
from tests.jobs.workers import ROOT, start_all, worker_commands
from tfscale.errors import ConfigError

pytestmark = [
    pytest.mark.long,
    pytest.mark.promise("remote"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

DEADLINE_SECONDS = 240
FLAGS = ["--dataset=datasets/digits.py", "--batch_size=64"]
SHORT = ["--model=models/mlp.py", "--epochs=2"]
LONG = ["--epochs=8", "--checkpoint_every_steps=5"]


@pytest.fixture(scope="module")
def nodes():
    folder = Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))
    try:
        with machines(folder) as found:
            yield found
    except ConfigError as error:
        pytest.skip(f"it needs network namespaces: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def environ(tmp_path):
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "TF_CONFIG": "{}"}


def _command(nodes, worker_flags, *own, hosts=None):
    words = [sys.executable, "launch/ssh.py", f"--hosts={','.join(hosts or nodes.hosts)}"]
    words += [nodes.config, "--env=CUDA_VISIBLE_DEVICES=-1", *own]
    return nodes.here([*words, "--", *worker_flags])


def _run(command, environ):
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    return done.returncode, done.stdout


class _Launcher:
    """A launcher that runs beside the test; its lines are read as they come."""

    def __init__(self, command, environ):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environ, start_new_session=True, **streams
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout:
            self.lines += iter(self.process.stdout.readline, "")

    @property
    def out(self):
        return "".join(self.lines)

    def wait(self):
        code = self.process.wait(DEADLINE_SECONDS)
        self._reader.join(10)
        return code


@contextlib.contextmanager
def _launcher(command, environ):
    launcher = _Launcher(command, environ)
    try:
        yield launcher
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher.process.pid, signal.SIGKILL)
        launcher.process.wait()


def _await(condition, what):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def _workers(nodes):
    """Numbers of the processes of launches that run on the nodes."""
    found = []
    for index in range(2):
        for pid in nodes.processes(index):
            with contextlib.suppress(OSError):
                if b"launch/worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return found


def _alone(run_dir, *flags):
    """The same training of two workers of this machine."""
    commands = worker_commands([*FLAGS, *flags, f"--run_dir={run_dir}"])
    ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS, is_warm=True)
    assert [one.code for one in ended] == [0, 0]
    return json.loads((run_dir / "report.json").read_text())["weights_sha256"]


@pytest.fixture(scope="module")
def paced(tmp_path_factory):
    """Flags of a training that takes a while, and what comes of it if nobody stops it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "model.py").write_text(PACED)
    flags = [f"--model={folder / 'model.py'}", *LONG]
    return flags, _alone(folder / "run", *flags)


def test_two_machines_train_what_two_workers_of_one_train(nodes, environ, tmp_path):
    # In a shared folder whose name a shell must not read.
    run_dir = tmp_path / 'it\'s $HOME; `id` & "*"'
    code, out = _run(_command(nodes, [*FLAGS, *SHORT, f"--run_dir={run_dir}"]), environ)
    assert code == 0, out
    report = json.loads((run_dir / "report.json").read_text())
    assert report["workers"] == 2
    assert report["weights_sha256"] == _alone(tmp_path / "alone", *SHORT)
    assert re.search(r"^\[0\] +workers +2 \(10\.77\.0\.1:2222, 10\.77\.0\.2:2222\)", out, re.M)
    (log,) = tmp_path.glob("state/tfscale/ssh/*/run/logs/launch-0.log")
    assert "Epoch 2/2" in log.read_text()
    assert {path.name for path in (run_dir / "logs").iterdir()} == {"worker-0.log", "worker-1.log"}


def test_a_node_that_is_killed_comes_back_into_a_run_whose_folder_nobody_shares(
    nodes, environ, paced
):
    run_dir, (flags, expected) = nodes.private / "run", paced
    worker_flags = [*FLAGS, *flags, f"--run_dir={run_dir}", "--overwrite"]
    command = _command(nodes, worker_flags, "--env=PAUSE_SECONDS=0.1")
    with _launcher(command, environ) as launcher:
        there = nodes.sees(0, run_dir)
        _await(lambda: list(there.glob("checkpoints/step-*")), lambda: launcher.out)
        nodes.kill(1)
        _await(lambda: "The next one begins" in launcher.out, lambda: launcher.out)
        nodes.begin(1)
        assert launcher.wait() == 0, launcher.out
    assert "[1] The connection to 10.77.0.2 was lost." in launcher.out
    assert "resumes from" in launcher.out
    report = json.loads((there / "report.json").read_text())
    assert (report["starts"], report["weights_sha256"]) == (2, expected)
    assert not run_dir.exists(), "the launcher's machine doesn't see it"
    other = nodes.sees(1, run_dir)
    assert sorted(path.name for path in other.iterdir()) == ["logs"]


def test_ctrl_c_and_the_end_of_a_launcher_leave_a_run_that_goes_on(nodes, environ, tmp_path, paced):
    run_dir, (flags, expected) = tmp_path / "run", paced
    worker_flags = [*FLAGS, *flags, f"--run_dir={run_dir}"]
    slow, fast = (
        _command(nodes, worker_flags, f"--env=PAUSE_SECONDS={pause}") for pause in (0.3, 0)
    )
    with _launcher(slow, environ) as launcher:
        _await(lambda: list(run_dir.glob("checkpoints/step-*")), lambda: launcher.out)
        os.killpg(launcher.process.pid, signal.SIGINT)  # as a terminal does
        assert launcher.wait() == 143, launcher.out
    assert "from which the same command resumes" in launcher.out
    saved = {path.name for path in run_dir.glob("checkpoints/step-*")}
    assert not _workers(nodes)
    with _launcher(slow, environ) as launcher:
        _await(
            lambda: {path.name for path in run_dir.glob("checkpoints/step-*")} - saved,
            lambda: launcher.out,
        )
        assert len(_workers(nodes)) == 2
        launcher.process.kill()
    _await(lambda: not _workers(nodes), lambda: f"{_workers(nodes)} still run")
    code, out = _run(fast, environ)
    assert code == 0, out
    report = json.loads((run_dir / "report.json").read_text())
    assert (report["starts"], report["weights_sha256"]) == (3, expected)


def test_a_detached_launch_can_be_followed_asked_and_stopped(nodes, environ, tmp_path, paced):
    run_dir, (flags, expected) = tmp_path / "run", paced
    worker_flags = [*FLAGS, *flags, f"--run_dir={run_dir}"]

    def ask(flag, pause="0.3"):
        return _command(nodes, worker_flags, flag, f"--env=PAUSE_SECONDS={pause}")

    code, out = _run(ask("--detach"), environ)
    assert code == 0, out
    try:
        _await(lambda: list(run_dir.glob("checkpoints/step-*")), lambda: "no checkpoint")
        code, out = _run(ask("--detach"), environ)
        assert code == 2, out
        assert "launched already" in out
        with _launcher(ask("--attach"), environ) as follower:
            _await(lambda: "first step took" in follower.out, lambda: follower.out)
            os.killpg(follower.process.pid, signal.SIGINT)
            assert follower.wait() == 130
        assert "the run goes on" in follower.out
        _await(lambda: "checkpoint: step" in _run(ask("--status"), environ)[1], lambda: out)
        code, out = _run(ask("--status"), environ)
        assert re.search(r"runs: pid \d+ on .* since 20", out), out
        with _launcher(ask("--attach"), environ) as follower:
            code, out = _run(ask("--stop"), environ)
            assert (code, "ended with exit code 143" in out) == (0, True), out
            assert follower.wait() == 143, follower.out
        assert not _workers(nodes)
        code, out = _run(ask("--detach", "0"), environ)
        assert code == 0, out
        code, out = _run(ask("--attach"), environ)
        assert code == 0, out
    finally:
        _run(ask("--stop"), environ)
    assert json.loads((run_dir / "report.json").read_text())["weights_sha256"] == expected
    assert "exit code 0" in _run(ask("--status"), environ)[1]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (["--ssh_option=UserKnownHostsFile=/dev/null"], "host key isn't known; .*ssh-keyscan"),
        (
            ["--ssh_option=UserKnownHostsFile={changed}"],
            "isn't the one that is known; .*ssh-keygen",
        ),
        (["--ssh_option=User=nobody"], "doesn't let this user in, .*ssh-copy-id"),
        (["--ssh_option=NoSuch=1"], "ssh refuses its options"),
        (["--folder=/no/such"], "nothing could be started .*--folder"),
        (["--python=no-such-python"], "nothing could be started .*--python"),
    ],
)
def test_what_cannot_work_ends_at_once_with_what_to_do(nodes, environ, tmp_path, own, words):
    known = (nodes.folder / "known_hosts").read_text().splitlines()
    changed = tmp_path / "changed"
    changed.write_text(f"{nodes.hosts[0]} {known[1].partition(' ')[2]}\n{known[1]}\n")
    own = [word.format(changed=changed) for word in own]
    code, out = _run(
        _command(nodes, [*FLAGS, *SHORT, f"--run_dir={tmp_path / 'run'}"], *own), environ
    )
    assert code == 2, out
    assert re.search(words, out.splitlines()[-1]), out
    assert "attempt 2" not in out
    assert not (tmp_path / "run").exists()


def test_a_node_that_does_not_come_is_named_when_the_others_have_waited(nodes, environ, tmp_path):
    flags = [*FLAGS, *SHORT, f"--run_dir={tmp_path / 'run'}", "--start_timeout=3"]
    code, out = _run(_command(nodes, flags, "--ssh_option=Port=1", "--restarts=0"), environ)
    assert (code, "Connection refused" in out) == (75, True), out
    code, out = _run(
        _command(nodes, flags, "--restarts=0", hosts=[nodes.hosts[0], "10.77.9.9"]), environ
    )
    assert (code, "10.77.9.9" in out.splitlines()[-1]) == (75, True), out


def test_the_working_tree_is_copied_and_a_name_of_sshs_configuration_will_do(
    nodes, environ, tmp_path
):
    folder = nodes.private / "my tree"
    flags = [*FLAGS, *SHORT, f"--run_dir={tmp_path / 'run'}"]
    own = ["--copy", f"--folder={folder}", f"--python={sys.executable}"]
    own += [f"--addresses={','.join(nodes.hosts)}"]
    code, out = _run(_command(nodes, flags, *own, hosts=["first", nodes.hosts[1]]), environ)
    assert code == 0, out
    for index in range(2):
        there = nodes.sees(index, folder)
        assert (there / "launch" / "worker.py").read_bytes() == (
            ROOT / "launch" / "worker.py"
        ).read_bytes()
        assert not (there / ".venv").exists()
    assert not folder.exists()
