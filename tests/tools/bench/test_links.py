import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

from tfscale.errors import ConfigError
from tools.bench import links
from tools.bench.links import ShapedLink, shaped

DEADLINE_SECONDS = 30
LIMIT_MBPS = 50
SENT_BYTES = 3_000_000  # half a second at the limit, and far more than the bucket's burst

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")),
    reason="network namespaces need root and iproute2",
)


def _ip(*words):
    done = subprocess.run(
        ["ip", *words], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    return done.returncode, done.stdout


def _namespaces():
    return {line.split()[0] for line in _ip("netns", "list")[1].splitlines()}


def _own_namespaces():
    return {name for name in _namespaces() if name.startswith(f"tfscale-{os.getpid()}-")}


def _can_be_made():
    """Whether this machine allows it at all; a container may not."""
    name = f"tfscale-{os.getpid()}-0-try"
    made, _ = _ip("netns", "add", name)
    linked, _ = _ip("-n", name, "link", "add", "bridge", "type", "bridge")
    _ip("netns", "delete", name)
    return made == linked == 0


@pytest.fixture
def allowed():
    if not _can_be_made():
        pytest.skip("this machine allows no network namespaces with a bridge")
    yield
    assert not _own_namespaces(), "every link takes its namespaces with it"


@contextlib.contextmanager
def _python(link, index, source):
    """A program on a worker's place, with its output; it ends with the block."""
    process = subprocess.Popen(
        [
            *link.command(index),
            sys.executable,
            "-S",
            "-c",
            f"import signal\nsignal.alarm(30)\n{source}",
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_SECONDS)


RECEIVE = """
import socket, time
with socket.create_server(("", {port})) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    received, start = len(connection.recv(1)), time.perf_counter()
    while part := connection.recv(1 << 20):
        received += len(part)
    print(received, time.perf_counter() - start, flush=True)
"""
SEND = """
import socket
with socket.create_connection(({host!r}, {port}), timeout=20) as connection:
    connection.sendall(bytes({count}))
"""


def _received(link, receiver, sender):
    """Bytes and seconds of what one worker sent another."""
    host, _, port = link.hosts(receiver + 1)[receiver].partition(":")
    with _python(link, receiver, RECEIVE.format(port=port)) as server:
        assert server.stdout.readline() == "listening\n"
        with _python(link, sender, SEND.format(host=host, port=port, count=SENT_BYTES)):
            count, seconds = server.stdout.readline().split()
    return int(count), float(seconds)


@needs_root
@pytest.mark.parametrize(("receiver", "sender"), [(0, 1), (2, 0)])
def test_what_a_worker_sends_has_the_bandwidth_of_the_link(allowed, receiver, sender):
    with shaped(3, LIMIT_MBPS) as link:
        count, seconds = _received(link, receiver, sender)
    assert count == SENT_BYTES
    assert 0.5 * LIMIT_MBPS < 8e-6 * count / seconds < 1.5 * LIMIT_MBPS


@needs_root
def test_each_worker_has_its_own_address_and_reaches_itself(allowed):
    with shaped(2, LIMIT_MBPS) as link:
        assert link.hosts(2) == ("10.77.0.1:2222", "10.77.0.2:2222")
        for index, name in enumerate(link.namespaces):
            _, shown = _ip("-n", name, "-4", "-oneline", "address", "show")
            found = {words[1]: words[3] for words in map(str.split, shown.splitlines())}
            assert found == {"lo": "127.0.0.1/8", "eth0": f"10.77.0.{index + 1}/16"}


@needs_root
def test_two_links_of_one_process_do_not_meet(allowed):
    with shaped(1, LIMIT_MBPS) as first, shaped(1, LIMIT_MBPS) as second:
        assert not set(first.namespaces) & set(second.namespaces)
        assert first.hosts(1) == second.hosts(1), "so all can have the same ports"


@needs_root
def test_the_namespaces_go_with_whatever_ends_the_block(allowed):
    with pytest.raises(KeyboardInterrupt), shaped(2, LIMIT_MBPS):
        assert len(_own_namespaces()) == 3, "two workers and the switch"
        raise KeyboardInterrupt


@needs_root
def test_a_link_that_cannot_be_made_says_why_and_leaves_nothing(allowed):
    with pytest.raises(ConfigError, match="tc .* rate 0mbit .* failed: .*veth, bridge and sch_tbf"):
        with shaped(2, 0):
            pytest.fail("a link without bandwidth is no link")


@needs_root
def test_only_what_is_left_over_of_the_dead_is_removed(allowed):
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as dead:
        dead.wait(DEADLINE_SECONDS)
    left = {f"tfscale-{dead.pid}-0-switch", f"tfscale-{dead.pid}-12-3"}
    living = {f"tfscale-{os.getpid()}-77-0", f"other-{dead.pid}-0-0", f"tfscale-{dead.pid}"}
    try:
        for name in left | living:
            assert _ip("netns", "add", name)[0] == 0
        links.remove_left_over()
        assert living <= _namespaces()
        assert not left & _namespaces()
    finally:
        for name in left | living:
            _ip("netns", "delete", name)


@pytest.mark.parametrize("missing", ["root", "ip", "tc"])
def test_without_root_or_its_programs_a_link_is_refused(monkeypatch, missing):
    monkeypatch.setattr(links.os, "geteuid", lambda: 1000 if missing == "root" else 0)
    monkeypatch.setattr(links.shutil, "which", lambda name: None if name == missing else name)
    with pytest.raises(
        ConfigError, match="--link_mbps=2.5 makes network namespaces; expected root"
    ):
        with shaped(2, 2.5):
            pytest.fail("it could not have been made")


def test_hosts_are_different_for_hundreds_of_workers():
    hosts = ShapedLink().hosts(600)
    assert len(set(hosts)) == 600
    assert (hosts[249], hosts[250]) == ("10.77.0.250:2222", "10.77.1.1:2222")


def test_a_worker_runs_in_its_own_namespace_and_gloo_on_its_own_interface():
    command = ShapedLink(("first", "second")).command(1)
    assert command[:4] == ["ip", "netns", "exec", "second"]
    assert command[4:] == ["env", "GLOO_SOCKET_IFNAME=eth0"]
