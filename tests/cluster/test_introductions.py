"""Workers that know their rank tell each other their addresses, or say who has not come."""

import json
import socket
import threading
import time
from contextlib import closing

import pytest

from tfscale.cluster import introductions
from tfscale.cluster.dialects.said import Said
from tfscale.cluster.introductions import Way, introduce
from tfscale.cluster.machines import canonical_host, own_hosts, split_address
from tfscale.cluster.ports import free_addresses
from tfscale.errors import START_TIMEOUT_CODE, ConfigError, SharedFailure

SECONDS = 20


def _said(rank, size=3, key="job 7"):
    return Said("mpirun", size, rank, "SIZE", "RANK", key=key)


def _leader():
    return f"localhost:{free_addresses(1)[0].rpartition(':')[2]}"


def _all(ways, *, size=3, delays=None):
    """What each rank is told, or why not; all at the same time."""
    found = {}

    def take_part(rank, way):
        time.sleep((delays or {}).get(rank, 0))
        try:
            found[rank] = introduce(_said(rank, size), way)
        except (ConfigError, SharedFailure) as error:
            found[rank] = error

    threads = [threading.Thread(target=take_part, args=(rank, way)) for rank, way in ways.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 5)
    return found


def _way(leader="", folder=None, seconds=SECONDS, say=lambda text: None):
    return Way(leader, folder, seconds, say)


@pytest.mark.parametrize("delays", [{}, {0: 1.0}, {1: 0.5, 2: 1.0}])
@pytest.mark.parametrize("has_leader", [True, False])
def test_all_are_told_the_same_addresses_in_the_order_of_their_ranks(tmp_path, delays, has_leader):
    folder = None if has_leader else tmp_path / "runs" / "first"
    way = _way(_leader() if has_leader else "", folder)
    found = _all(dict.fromkeys(range(3), way), delays=delays)
    assert found[0] == found[1] == found[2], found
    assert len(set(found[0])) == 3
    hosts = {split_address(one)[0] for one in found[0]}
    assert len(hosts) == 1
    assert canonical_host(hosts.pop()) in own_hosts() | {"localhost"}
    ports = [int(one.rpartition(":")[2]) for one in found[0]]
    assert all(20000 <= port < 30000 for port in ports)
    if folder:
        assert list(folder.iterdir()) == []


def test_what_an_earlier_start_has_left_misleads_nobody(tmp_path):
    with closing(socket.socket()) as other:  # another program has the port now
        other.bind(("127.0.0.1", 0))
        other.listen()
        stale = {"hosts": ["127.0.0.1"], "port": other.getsockname()[1], "nonce": "old"}
        (tmp_path / introductions._FILE).write_text(json.dumps(stale))
        found = _all(dict.fromkeys(range(2), _way(folder=tmp_path)), size=2, delays={0: 0.5})
    assert isinstance(found[0], tuple)
    assert found[0] == found[1]


@pytest.mark.parametrize("delays", [{}, {0: 0.7}, {2: 0.7}])
def test_all_who_have_come_name_who_is_missing(tmp_path, delays):
    lines = []
    way = _way(folder=tmp_path, seconds=3.0, say=lines.append)
    found = _all({0: way, 2: way}, size=4, delays=delays)
    for rank in (0, 2):
        assert isinstance(found[rank], SharedFailure)
        assert found[rank].code == START_TIMEOUT_CODE
        assert found[rank].reason.startswith("Worker 1, 3 of 4 hasn't come within 3 s"), rank
    assert not (tmp_path / introductions._FILE).exists()


def test_a_leader_that_is_not_there_is_named():
    with pytest.raises(
        SharedFailure, match=r"Worker 0 at nowhere.invalid:1 hasn't come within 1 s"
    ):
        introduce(_said(1), _way("nowhere.invalid:1", seconds=1))


def test_a_leader_whose_name_leads_to_the_wrong_machine_is_said(monkeypatch):  # T1
    found = socket.getaddrinfo

    def copied(host, *args, **kwargs):
        return found("127.0.1.1" if host == "node0" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", copied)
    words = r"Worker 0 at node0:1 \(its name means 127.0.1.1 on this machine, see /etc/hosts\)"
    with pytest.raises(SharedFailure, match=words):
        introduce(_said(1), _way("node0:1", seconds=1))


@pytest.mark.parametrize("delays", [{}, {0: 1.0}])
def test_a_leader_of_which_no_name_leads_anywhere_yet_is_asked_again(monkeypatch, delays):  # T17
    found, began = socket.getaddrinfo, time.monotonic()

    def late(host, *args, **kwargs):
        if host == "node0" and time.monotonic() < began + 1.0:
            raise socket.gaierror("Name or service not known")
        return found("127.0.0.1" if host == "node0" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", late)
    way = _way(f"node0:{_leader().rpartition(':')[2]}")
    told = _all(dict.fromkeys(range(2), way), size=2, delays=delays)
    assert isinstance(told[0], tuple), told
    assert told[0] == told[1]


def test_waiting_is_said(monkeypatch):
    monkeypatch.setattr(introductions, "_SAY_SECONDS", 0.1)
    lines = []
    with pytest.raises(SharedFailure):
        introduce(_said(0), _way(_leader(), seconds=1, say=lines.append))
    assert lines[0] == "Worker 0 waits for worker 1, 2 of 3."


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (_said(1, key="job 8"), "it belongs to another launch"),
        (_said(3, size=4), "it says that it is worker 3 of 4, and there are 3"),
    ],
)
def test_who_belongs_to_another_launch_is_turned_away(other, words):
    leader = _leader()
    chief = threading.Thread(
        target=lambda: pytest.raises(SharedFailure, introduce, _said(0), _way(leader, seconds=3))
    )
    chief.start()
    with pytest.raises(ConfigError, match=words):
        introduce(other, _way(leader))
    chief.join(SECONDS)


def test_one_rank_for_two_workers_is_refused():
    way, found = _way(_leader(), seconds=4), []

    def take_part(rank):
        try:
            found.append(introduce(_said(rank), way))
        except (ConfigError, SharedFailure) as error:
            found.append(error)

    threads = [threading.Thread(target=take_part, args=(rank,)) for rank in (0, 1, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    refused = [one for one in found if isinstance(one, ConfigError)]
    assert len(refused) == 1
    assert "worker 1 is there already" in str(refused[0])


def test_who_ends_while_it_waits_may_come_again():
    way = _way(_leader())
    found = {}
    chief = threading.Thread(target=lambda: found.update({0: introduce(_said(0, 3), way)}))
    chief.start()
    gone = _way(way.leader, seconds=1)
    with pytest.raises(SharedFailure):
        introduce(_said(1), gone)
    later = [
        threading.Thread(target=lambda rank=rank: found.update({rank: introduce(_said(rank), way)}))
        for rank in (1, 2)
    ]
    for thread in later:
        thread.start()
    for thread in (*later, chief):
        thread.join(SECONDS)
    assert found[0] == found[1] == found[2]


def test_what_is_no_worker_is_dropped():
    leader = _leader()
    port = int(leader.rpartition(":")[2])
    found = {}
    chief = threading.Thread(target=lambda: found.update({0: introduce(_said(0, 2), _way(leader))}))
    chief.start()
    for words in (b"GET / HTTP/1.1\r\n\r\n\n", b"[1]\n", b'{"rank": "x"}\n', b""):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", port), 2) as stranger:
                    stranger.sendall(words)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
    found[1] = introduce(_said(1, 2), _way(leader))
    chief.join(SECONDS)
    assert found[0] == found[1]


def test_a_port_that_is_taken_is_said():
    with closing(socket.socket()) as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Worker 0 can't listen at port {port}"):
            introduce(_said(0), _way(f"localhost:{port}"))


@pytest.mark.parametrize(
    ("host", "plain"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")],
)
def test_numbers_are_written_as_everybody_reads_them(host, plain):
    assert introductions._plain(host) == plain
