"""Launches whose ssh runs everything here, with real couriers, members and a supervisor."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.supervise.sources import DEADLINE_SECONDS, FOREVER, ROOT
from tests.tools.ssh.fake_ssh import fake_ssh, repository  # noqa: F401
from tfscale.errors import ConfigError
from tfscale.supervise import restart_policy
from tools.ssh import launching
from tools.ssh.courier import Errand
from tools.ssh.launching import Start, courier_commands, variables
from tools.ssh.messages import Order
from tools.ssh.nodes import nodes_of

pytestmark = pytest.mark.usefixtures("fake_ssh")


def _nodes(*hosts):
    return nodes_of(hosts or ["n0", "n1"], port=2222, processes_per_node=1)


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Runs a source on two nodes; gives the exit code."""
    monkeypatch.setattr(restart_policy.Budget, "_pause", lambda self, failures: 0.0)

    def run(source, *flags, restarts=0, **more):
        flags = (f"--run_dir={tmp_path / 'run'}", *flags)
        start = Start("worker", flags, **repository(tmp_path / "there", source), **more)
        return launching.run(start, _nodes(), os.environ, restarts=restarts)

    return run


def _errands(start, *hosts):
    return [
        Errand.of_text(command[-1])
        for command in courier_commands(start, _nodes(*hosts), ROOT / "state")
    ]


def test_each_worker_gets_its_place_in_front_of_the_flags():
    start = Start("worker", ("--run_dir=r", "--start_timeout=7"))
    errands = _errands(start)
    orders = [Order.of_text(errand.order) for errand in errands]
    for index, order in enumerate(orders):
        place = ("--cluster=none", "--hosts=n0:2222,n1:2222", f"--index={index}")
        assert order.command == ("launch/worker.py", *place, *start.worker_flags)
    assert [order.run_dir for order in orders] == ["r", ""]
    assert [bool(errand.folder) for errand in errands] == [True, False]
    assert [errand.patience_seconds for errand in errands] == [7.0, 7.0]
    assert [errand.target for errand in errands] == ["n0", "n1"]


def test_a_worker_alone_gets_no_address_and_an_evaluation_no_folder():
    (errand,) = _errands(Start("evaluate", ("--run_dir=r",)), "n0")
    order = Order.of_text(errand.order)
    assert order.command == ("launch/evaluate.py", "--cluster=none", "--run_dir=r")
    assert (order.run_dir, errand.patience_seconds) == ("", 120.0)


@pytest.mark.parametrize("flag", ["--hosts=a:1", "--index=0", "--cluster=mpi", "--restarts=2"])
def test_a_workers_place_behind_the_dashes_is_refused(flag):
    with pytest.raises(ConfigError, match="came behind the `--`"):
        launching.run(Start("worker", (flag,)), _nodes(), os.environ)


@pytest.mark.parametrize("word", ["A", "=1", "A B=1", "1A=2", ""])
def test_what_is_no_variable_is_refused(word):
    with pytest.raises(ConfigError, match="expected NAME=VALUE"):
        variables([word], {"B": "1"})


def test_a_variable_may_have_any_value_and_be_one_of_this_machine():
    found = variables(["A=", "B=x=y z", "C"], {"C": "c", "D": "d"})
    assert found == {"A": "", "B": "x=y z", "C": "c"}


def test_no_value_of_a_variable_stands_in_arguments_that_others_see(launch, capfd):
    source = (
        "import psutil\n"
        "shown = [process.info['cmdline'] for process in psutil.process_iter(['cmdline'])]\n"
        "shown = str(shown)\n"
        "print(os.environ['SECRET'], 'planted' in shown, len(shown) > 100, flush=True)\n"
    )
    assert launch(source, environ={"SECRET": "planted-9f3", "PYTHONPATH": "theirs"}) == 0
    assert capfd.readouterr().out.count("planted-9f3 False True") == 2


def test_without_ssh_the_package_is_named(tmp_path):
    with pytest.raises(ConfigError, match="openssh-client"):
        launching.run(Start("worker", ()), _nodes(), {"PATH": str(tmp_path)})


def test_lines_come_here_and_are_filed_and_words_arrive_literally(launch, capfd, tmp_path):
    source = "print(index, sys.argv[-1], os.environ['ODD'], flush=True)\n"
    source += "print('said', file=sys.stderr)\n"
    odd = 'it\'s $HOME; `id` "*" \\ ü'
    assert launch(source, odd, environ={"ODD": odd}) == 0
    lines = capfd.readouterr().out.splitlines()
    for index in range(2):
        assert f"[{index}] {index} {odd} {odd}" in lines
        assert f"[{index}] said" in lines
    logs = next(tmp_path.glob("state/tfscale/ssh/*/run/logs"))
    assert sorted(logs.joinpath("launch-1.log").read_text().splitlines()) == [
        f"1 {odd} {odd}",
        "said",
    ]
    assert odd not in (tmp_path / "bin" / "words").read_text(), "no shell has read it"


def test_a_worker_alone_has_the_terminal_to_itself(tmp_path, capfd):
    there = repository(tmp_path / "there", "")
    source = "import sys; print('out', flush=True); sys.exit('the reason')"
    (tmp_path / "there" / "launch" / "worker.py").write_text(source)
    start = Start("worker", ("--run_dir=r",), **there)
    assert launching.run(start, _nodes("n0"), os.environ, restarts=1) == 1
    out, err = capfd.readouterr()
    assert out == "out\nout\n"
    assert err.splitlines()[-1].endswith("worker 0 ended with exit code 1: the reason")


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("sys.exit(int(index) * 7)", 7, "worker 1 ended with exit code 7"),
        ("os.kill(os.getpid(), 9 if index == '1' else 0)", 137, "worker 1 was ended by SIGKILL"),
        ("sys.exit(2)", 2, "the same command can't work"),
    ],
)
def test_a_worker_ends_here_as_it_has_ended_there(launch, capfd, source, code, words):
    assert launch(source, restarts=0) == code
    assert words in capfd.readouterr().out


def test_what_a_worker_records_of_its_end_reaches_the_supervisor(launch, capfd):
    # The same failure at the same step three times is the last, whatever was saved.
    source = """
folder = sys.argv[4][10:] + '/checkpoints'
os.makedirs(folder + f'/step-{time.time_ns():010d}')
len(os.listdir(folder)) > 6 and sys.exit(0)
end = '{"reason": "x", "code": 1, "kind": "not finite", "step": 5}'
open(os.environ['TFSCALE_END_RECORD'], 'w').write(end)
sys.exit(1)
"""
    assert launch(source, restarts=9) == 1
    assert "3 failures in a row without progress" in capfd.readouterr().out


STEPS = """
run = sys.argv[4].partition('=')[2]
print('words', sys.argv[5:], flush=True)
old = len(os.listdir(run + '/checkpoints')) if index == '0' else 0
"""


def test_progress_seen_on_the_node_keeps_the_budget_from_running_out(launch, capfd, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    source = STEPS + "if index == '0' and old < 5: os.mkdir(f'{run}/checkpoints/step-{old:010d}')\n"
    assert launch(source + "sys.exit(index == '0' and old < 5)", restarts=1) == 0
    out = capfd.readouterr().out
    assert out.count("restart 1 of 1 without progress") == 5
    assert "from step 4" in out


def test_what_this_launch_has_saved_is_not_overwritten_and_what_was_there_is(
    launch, capfd, tmp_path
):
    (tmp_path / "run" / "checkpoints" / "step-0000000900").mkdir(parents=True)
    source = (
        STEPS
        + """
if index == '0' and old < 3:
    # The third attempt, that is: nothing was saved in the first.
    os.path.exists('tried') and os.mkdir(f'{run}/checkpoints/step-{old:010d}')
    open('tried', 'w')
    sys.exit(1)
"""
    )
    assert launch(source, "--overwrite", restarts=3) == 0
    own = [line for line in capfd.readouterr().out.splitlines() if line.startswith("[0] words")]
    plain, kept = "[0] words ['--overwrite']", "[0] words ['--overwrite', '--nooverwrite']"
    assert own == [plain, plain, kept, kept]


def test_a_checkpoint_of_which_no_word_came_is_not_overwritten(launch, capfd, tmp_path):
    # The connection breaks as soon as it is there: the courier is killed with all that it has.
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    source = (
        STEPS
        + """
if index == '0' and not old:
    os.mkdir(f'{run}/checkpoints/step-0000000007')
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)
"""
    )
    assert launch(source, "--overwrite", restarts=3) == 0
    out = capfd.readouterr().out
    assert "[0] The connection to n0 was lost." in out
    assert "[0] words ['--overwrite', '--nooverwrite']" in out


def test_a_node_that_comes_late_is_waited_for_and_one_that_does_not_is_named(
    launch, capfd, tmp_path
):
    refuses = tmp_path / "bin" / "refuses"
    refuses.write_text("ssh: connect to host n0 port 22: Connection refused\n")
    remove = f"import os, time; time.sleep(1); os.remove({str(refuses)!r})"
    with subprocess.Popen([sys.executable, "-c", remove]):
        assert launch("") == 0
    assert "No connection to n0 yet. ssh said: ssh: connect to host" in capfd.readouterr().out


def test_a_node_that_does_not_come_ends_with_75(launch, capfd, tmp_path):
    (tmp_path / "bin" / "refuses").write_text("ssh: connect to host: No route to host\n")
    assert launch("", "--start_timeout=0.1") == 75
    assert "No route to host" in capfd.readouterr().out.splitlines()[-1]


def test_what_ssh_refuses_is_not_tried_again(launch, capfd, tmp_path):
    (tmp_path / "bin" / "refuses").write_text("Host key verification failed.\n")
    assert launch("", restarts=3) == 2
    lines = capfd.readouterr().out.splitlines()
    assert "ssh-keyscan" in lines[-1]
    assert "the same command can't work" in lines[-1]


def test_a_node_without_the_repository_ends_with_2(launch, capfd, tmp_path):
    there = tmp_path / "there"
    start = Start("worker", ("--run_dir=r",), folder=str(tmp_path / "no"), python=sys.executable)
    assert launching.run(start, _nodes(), os.environ) == 2
    assert not there.exists()
    assert "--folder, --python, and --copy" in capfd.readouterr().out


PROGRAM = """
import os, sys
from tools.ssh import launching
from tools.ssh.launching import Start
from tools.ssh.nodes import nodes_of
start = Start("worker", ("--run_dir={run}",), {folder!r}, sys.executable)
sys.exit(launching.run(start, nodes_of(["n0", "n1"], port=2222, processes_per_node=1), os.environ))
"""


@pytest.fixture
def launcher(tmp_path):
    """Starts a launcher of its own, for signals; each of its workers says that it is ready."""
    started = []

    def begin(source):
        there = repository(tmp_path / "there", source)
        program = PROGRAM.format(run=tmp_path / "run", folder=there["folder"])
        process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        ready = 0
        while ready < 2:
            line = process.stdout.readline()
            assert line, "it has ended"
            ready += "ready" in line
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


READY = "print('ready', flush=True)\n"
SAVES = "signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'saved\\n'), os._exit(143)))\n"


@pytest.mark.promise("remote")
def test_a_signal_reaches_each_worker_once_and_all_may_save(launcher):
    process = launcher(SAVES + READY + FOREVER)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 143, out
    assert sorted(line for line in out.splitlines() if "saved" in line) == [
        "[0] saved",
        "[1] saved",
    ]


@pytest.mark.promise("remote")
@pytest.mark.parametrize("whose", ["launcher", "courier"])
def test_nothing_there_outlives_what_stands_for_it_here(launcher, lifeline, whose):
    hold, wait = lifeline
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    process = launcher(hold + deaf + READY + FOREVER)
    began = time.monotonic()
    if whose == "launcher":
        process.kill()
    else:
        for child in psutil.Process(process.pid).children():
            if "courier" in " ".join(child.cmdline()):
                child.kill()
    assert wait() == b"xx"
    assert time.monotonic() - began < DEADLINE_SECONDS / 2, "no alarm has ended them"


def test_a_second_launch_of_a_run_is_refused_and_status_tells_of_the_first(
    launcher, tmp_path, capfd
):
    process = launcher(SAVES + READY + FOREVER)
    start = Start("worker", (f"--run_dir={tmp_path / 'run'}",), str(tmp_path / "there"))
    with pytest.raises(ConfigError, match=f"launched already: pid {process.pid} on "):
        launching.run(start, _nodes(), os.environ)
    launches = start.launches(os.environ)
    launches.status()
    out = capfd.readouterr().out
    assert f"runs: pid {process.pid}" in out
    assert "last line of worker 1: ready" in out
    assert launches.stop() == 0
    assert "ended with exit code 143" in capfd.readouterr().out
    launches.status()
    assert "doesn't run; the last launch has ended with exit code 143" in capfd.readouterr().out


def test_a_launcher_that_was_killed_is_not_taken_for_one_that_runs(launcher, tmp_path, capfd):
    process = launcher(READY + FOREVER)
    process.kill()
    process.wait()
    start = Start("worker", (f"--run_dir={tmp_path / 'run'}",), str(tmp_path / "there"))
    launches = start.launches(os.environ)
    launches.status()
    assert "doesn't run; the last launcher was killed" in capfd.readouterr().out
    # Its number may be another process's now.
    record = launches.folder / ".tfscale-run-holder.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"pid": os.getpid()}))
    launches.status()
    assert "doesn't run" in capfd.readouterr().out
    assert launches.stop() == 0
