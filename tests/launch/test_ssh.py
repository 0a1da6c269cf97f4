import os
import re
import subprocess
import sys

import pytest

from tests.supervise.sources import DEADLINE_SECONDS, ROOT
from tests.tools.ssh.fake_ssh import fake_ssh, repository  # noqa: F401

pytestmark = pytest.mark.usefixtures("fake_ssh")


def _run(*words, environ=()):
    done = subprocess.run(
        [sys.executable, "launch/ssh.py", *words],
        cwd=ROOT,
        env=os.environ | dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * DEADLINE_SECONDS,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "--run_dir=r"], "0 of --hosts, --hosts_file and --hosts_from came"),
        (["--hosts=a", "--hosts_from=pbs", "--"], "2 of --hosts"),
        (["--hosts_from=pbs", "--"], "PBS_NODEFILE isn't set"),
        (["--hosts=a", "--run_dir=r"], "--run_dir is a flag of the workers; .*launch/ssh.py"),
        (["--hosts=a", "--detach", "--stop", "--"], "expected one of them"),
        (["--hosts=a", "--env=X", "--"], "--env=X is no variable"),
        (["--hosts=-oProxyCommand=x", "--"], "no name and no IP address"),
    ],
)
def test_what_names_no_nodes_or_too_much_is_refused(words, said):
    code, out = _run(*words, environ={"PBS_NODEFILE": ""})
    assert code == 2, out
    assert re.search(said, out), out


def test_help_shows_its_flags():
    code, out = _run("--help")
    assert code == 0
    for flag in ("hosts", "hosts_from", "copy", "detach", "restarts"):
        assert re.search(rf"--(\[no\])?{flag}:", out), out


def test_the_nodes_of_a_job_get_the_flags_behind_the_dashes(tmp_path):
    there = repository(tmp_path / "there", "print(sys.argv[1:], os.environ['X'], flush=True)\n")
    (tmp_path / "nodes").write_text("n0\nn0\nn1\n")
    own = [f"--folder={there['folder']}", f"--python={there['python']}", "--env=X=y z"]
    own += ["--hosts_from=pbs", "--processes_per_node=2", "--port=2300", "--restarts=0"]
    flags = [f"--run_dir={tmp_path / 'run'}", "--epochs=3"]
    code, out = _run(*own, "--", *flags, environ={"PBS_NODEFILE": str(tmp_path / "nodes")})
    assert code == 0, out
    hosts = "--hosts=n0:2300,n0:2301,n1:2300,n1:2301"
    for index in range(4):
        words = ["--cluster=none", hosts, f"--index={index}", *flags]
        assert f"[{index}] {words} y z" in out.splitlines()
    assert _run("--status", *own[:2], "--", *flags)[1].startswith(
        "[launch] doesn't run; the last launch has ended with exit code 0"
    )
