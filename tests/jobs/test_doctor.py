"""Real doctors on real nodes: network namespaces, faked files, a launcher; each fault planted."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.jobs.workers import ROOT, free_addresses, start_all
from tests.tools.bench.test_links import allowed, needs_root  # noqa: F401 - a fixture
from tools.bench.links import shaped
from tools.profiles.link_curve import load_link_curves

pytestmark = [pytest.mark.long, pytest.mark.promise("doctor")]

DEADLINE_SECONDS = 100  # every doctor ends within 90 s, whatever is broken
PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
WITHOUT_PROXIES = ["env", *(word for name in PROXIES for word in ("-u", name, "-u", name.upper()))]


def _examined(hosts, *, prefixes=(), flags=(), own_flags=()):
    """Starts a doctor for each host; gives what worker 0 says, and the exit codes of all."""
    commands = []
    for rank in range(len(hosts)):
        program = [*WITHOUT_PROXIES, *dict(prefixes).get(rank, []), sys.executable]
        program += ["launch/doctor.py", "--cluster=none", "--json", f"--index={rank}"]
        program += [f"--hosts={','.join(hosts)}", *flags, *dict(own_flags).get(rank, [])]
        commands.append(program)
    ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS)
    assert None not in [one.code for one in ended], "it ends by itself"
    assert len({one.code for one in ended}) == 1, [(one.code, one.err) for one in ended]
    assert ended[0].out.startswith("{"), ended[0].err
    told = json.loads(ended[0].out)
    assert told["exit_code"] == ended[0].code
    return told


def _found(told):
    return {(one["reason"], one["node"]) for one in told["findings"]}


def _came(told, reason, node=None):
    (one,) = [one for one in told["findings"] if (one["reason"], one["node"]) == (reason, node)]
    return one["came"]


def test_nothing_is_found_on_a_healthy_pair_and_the_curve_is_kept(tmp_path):
    command = [*WITHOUT_PROXIES, sys.executable, "launch/local.py", "--workers=2"]
    command += ["--program=doctor", "--", f"--run_dir={tmp_path}"]
    (ended,) = start_all([command], deadline_seconds=DEADLINE_SECONDS)
    assert ended.code == 0, ended.out + ended.err
    assert "[0] All nodes are healthy.\n" in ended.out
    (curve,) = load_link_curves(tmp_path / "doctor" / "links.json")
    assert (curve.group.ranks, curve.group.collectives) == ((0, 1), "ring")
    assert [point.size_bytes for point in curve.points][:5] == [2**10, 2**12, 2**14, 2**16, 2**18]


def _faked(folder):
    """A folder of packages with another Keras by its word, and one more plug-in."""
    packages = folder / "site-packages"
    info = packages / "keras-3.14.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 3.14.0\n")
    (packages / "tensorflow-plugins").mkdir()
    extension = next(Path(psutil.__file__).parent.glob("*.so"))  # which loads anywhere
    shutil.copy(extension, packages / "tensorflow-plugins" / "libother.so")
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nsleep 600\n")
    program.chmod(0o755)
    return packages, program.parent


def test_everything_that_is_wrong_with_one_node_is_named_at_once(tmp_path):
    packages, programs = _faked(tmp_path)
    other = ["env", f"PYTHONPATH={packages}", f"PATH={programs}:/usr/bin:/bin"]
    told = _examined(
        free_addresses(2),
        prefixes={0: ["env", "http_proxy=http://proxy:3128"], 1: other},
        flags=["--gpus=1"],
        own_flags={rank: [f"--run_dir={tmp_path / str(rank)}"] for rank in (0, 1)},
    )
    assert told["exit_code"] == 1
    wrong = {("driver", 1), ("version", 1), ("folder not shared", 1), ("proxy", 0)}
    assert wrong | {("gpu missing", 0)} <= _found(told)
    assert "keras 3.14.0" in _came(told, "version", 1)
    assert "nvidia-smi has not answered within 8 s" in _came(told, "driver", 1)
    assert "http_proxy=http://proxy:3128" in _came(told, "proxy", 0)
    differences = [one["came"] for one in told["findings"] if one["reason"] == "nodes differ"]
    assert "plug-ins of TensorFlow: worker 0: none, worker 1: libother.so" in differences
    assert told["not_measured"] == "not measured, because a run would fail"


def _with_hosts_file(path, *lines):
    """What lets a command see another /etc/hosts."""
    path.write_text("".join(f"{line}\n" for line in ("127.0.0.1 localhost", *lines)))
    bind = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", bind, str(path)]


@needs_root
def test_a_name_that_leads_to_the_loopback_and_a_link_of_100_megabits_are_named(
    tmp_path,
    allowed,  # noqa: F811
):
    """T1 and a slow cable, neither of which ends a run."""
    with shaped(2, 100) as link:
        own = _with_hosts_file(tmp_path / "0", "127.0.1.1 node0", "10.77.0.2 node1")
        other = _with_hosts_file(tmp_path / "1", "10.77.0.1 node0", "10.77.0.2 node1")
        told = _examined(
            ["node0:2222", "node1:2222"],
            prefixes={0: [*link.command(0), *own], 1: [*link.command(1), *other]},
        )
    assert _found(told) == {("loopback", 0), ("slow link", None)}
    assert "node0 resolves to 127.0.1.1" in _came(told, "loopback", 0)
    assert "between worker 0 at node0:2222 and worker 1" in _came(told, "slow link")
    assert told["exit_code"] == 0
    best = max(row["bus_bytes_per_second"] for row in told["links"])
    assert best < 20e6, "100 Mbit/s are 12.5 MB/s"


@needs_root
def test_a_wrong_address_is_named_with_the_right_one(allowed):  # noqa: F811
    with shaped(2, 1000) as link:
        told = _examined(
            ["10.77.0.1:2222", "10.77.0.9:2222"],
            prefixes={rank: link.command(rank) for rank in (0, 1)},
            flags=["--start_timeout=10"],
        )
    assert _found(told) == {("address", 1), ("unreachable", 1)}
    assert "it came from 10.77.0.2" in _came(told, "unreachable", 1)
    assert told["exit_code"] == 1


@needs_root
def test_a_firewall_is_named_where_nobody_connects(allowed):  # noqa: F811
    """T26: each node is there, and what worker 1 sends doesn't come back."""
    with shaped(2, 1000) as link:
        no_way = ["ip", "-n", link.namespaces[1], "route", "add", "prohibit", "10.77.0.1/32"]
        subprocess.run(no_way, check=True, timeout=30)
        told = _examined(
            link.hosts(2),
            prefixes={rank: link.command(rank) for rank in (0, 1)},
            flags=["--start_timeout=8"],
        )
    assert _found(told) == {("missing", 1)}
    assert "no answer within 1 s: a firewall" in _came(told, "missing", 1)


@needs_root
def test_one_slow_node_of_four_is_named(allowed):  # noqa: F811
    with shaped(4, 1000, others={2: 50}) as link:
        told = _examined(link.hosts(4), prefixes={rank: link.command(rank) for rank in range(4)})
    assert _found(told) == {("slow node", 2)}
    assert told["exit_code"] == 0


def test_a_port_that_is_taken_is_named_with_who_has_it():
    hosts = free_addresses(2)
    listener = f"import socket, time; s = socket.create_server(('', {hosts[1].split(':')[1]}))"
    command = [sys.executable, "-c", f"{listener}; print(1, flush=True); time.sleep(100)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"1\n"
            told = _examined(hosts, flags=["--start_timeout=10"])
        finally:
            process.kill()
    assert ("port", 1) in _found(told)
    assert f"(process {process.pid})" in _came(told, "port", 1)


@pytest.mark.skipif(shutil.which("mpirun.openmpi") is None, reason="it needs openmpi-bin")
def test_tasks_of_mpirun_examine_themselves(tmp_path):
    command = [*WITHOUT_PROXIES, "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"]
    command += ["mpirun.openmpi", "--oversubscribe", "--bind-to", "none", "-n", "2"]
    command += [sys.executable, "launch/doctor.py", f"--run_dir={tmp_path}"]
    (ended,) = start_all([command], deadline_seconds=DEADLINE_SECONDS)
    assert ended.code == 0, ended.out + ended.err
    assert "as mpirun (Open MPI) (OMPI_COMM_WORLD_RANK) says" in ended.out
    assert "All nodes are healthy." in ended.out


def test_a_launcher_that_contradicts_itself_is_a_finding_of_one_line():
    """T16: variables of two launchers that differ."""
    environ = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    environ |= {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    command = [*WITHOUT_PROXIES, *(f"{name}={value}" for name, value in environ.items())]
    command += [sys.executable, "launch/doctor.py", "--json"]
    (ended,) = start_all([command], deadline_seconds=DEADLINE_SECONDS)
    told = json.loads(ended.out)
    assert _found(told) == {("cluster", None)}
    assert (ended.code, told["exit_code"]) == (1, 1)
    assert "0" in told["nodes"]


@pytest.mark.parametrize("flag", ["--no_such_flag", "--start_timeout=0", "word"])
def test_a_wrong_flag_ends_with_code_2(flag):
    command = [sys.executable, str(ROOT / "launch" / "doctor.py"), flag]
    (ended,) = start_all([command], deadline_seconds=DEADLINE_SECONDS)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
