"""Workers that meet, as threads of this process, and what is in their way: loopback only."""

import contextlib
import threading

import pytest

from tests.startup.greeting import DEADLINE_SECONDS, SETTINGS, Server, comes_true, free_port
from tfscale.cluster.cluster import Cluster
from tfscale.errors import START_TIMEOUT_CODE, ConfigError, End
from tfscale.startup.network import rendezvous
from tfscale.startup.network.handshake import SEEN, Hello
from tfscale.startup.network.rendezvous import meet


class _Left(Exception):
    """Takes the place of the process's end."""


@pytest.fixture(autouse=True)
def _processes_end_as_threads(monkeypatch):
    def leave(code):
        raise _Left(code)

    monkeypatch.setattr(rendezvous, "leave", leave)
    monkeypatch.setattr(rendezvous, "record_end", _Worker.recorded.append)
    monkeypatch.setattr(rendezvous, "PROGRESS_SECONDS", 0.3)
    yield
    while _Worker.servers:
        _Worker.servers.pop().end()


class _Worker:
    """One worker that meets the others in a thread; then a server takes its port."""

    servers = []
    recorded = []

    def __init__(self, hosts, rank, timeout_seconds=DEADLINE_SECONDS):
        self.said, self.result = [], None
        self._cluster = Cluster(tuple(hosts), rank)
        self._timeout_seconds = timeout_seconds
        self._thread = threading.Thread(target=self._meet)
        self._thread.start()

    def _meet(self):
        try:
            gpus = [f"GPU {self._cluster.index}"]
            met = meet(self._cluster, self._timeout_seconds, self.said.append, gpus)
            assert met.seconds_left > 0
            self.result = met.gpus
            own = self._cluster.addresses[self._cluster.index]
            self.servers.append(Server(port=_port(own)))
        except Exception as error:
            self.result = error

    def ended(self):
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive(), self.said
        return self.result

    def says(self, words):
        assert comes_true(lambda: any(words in line for line in self.said)), self.said
        return True


def _hosts(count):
    ports = set()
    while len(ports) < count:
        ports.add(free_port())
    return [f"127.0.0.1:{port}" for port in ports]


def _port(address):
    return int(address.rpartition(":")[2])


def _gave_up(worker):
    left = worker.ended()
    assert isinstance(left, _Left), left
    assert left.args == (START_TIMEOUT_CODE,)
    last = worker.said[-1]
    assert "gave up after 1 s" in last
    assert End.of(START_TIMEOUT_CODE, last) in _Worker.recorded
    assert "--start_timeout sets the limit" in last
    return last


@pytest.mark.parametrize("count", [2, 4])
def test_all_have_met_when_all_are_there_and_the_chiefs_server_runs(count):
    hosts = _hosts(count)
    others = [_Worker(hosts, rank) for rank in range(1, count)]
    chief = _Worker(hosts, 0)
    expected = tuple((f"GPU {rank}",) for rank in range(count))
    assert [worker.ended() for worker in (chief, *others)] == [expected] * count


def test_a_worker_that_refuses_ends_all_others_with_its_reason():
    hosts = _hosts(3)
    others = [_Worker(hosts, rank) for rank in (1, 2)]
    rendezvous.refuse(Cluster(tuple(hosts), 0), "the folder is held")
    for worker in others:
        error = worker.ended()
        assert isinstance(error, ConfigError), error
        assert str(error) == "the folder is held"


def test_who_refuses_waits_for_nobody_for_long_nor_for_its_port(monkeypatch):
    monkeypatch.setattr(rendezvous, "_REFUSING_SECONDS", 0.1)
    hosts = _hosts(2)
    rendezvous.refuse(Cluster(tuple(hosts), 0), "the folder is held")
    with Server(port=_port(hosts[0])):
        rendezvous.refuse(Cluster(tuple(hosts), 0), "the folder is held")
    rendezvous.refuse(Cluster(), "the folder is held")


def test_all_stay_at_their_ports_until_the_chiefs_server_runs():
    hosts = _hosts(2)
    chief = Hello.of(Cluster(tuple(hosts), 0))
    with Server(chief.line(), _port(hosts[0]), SEEN):
        last = _gave_up(_Worker(hosts, 1, 1.0))
    assert f"worker 0 at {hosts[0]} (met, its TensorFlow server has not started yet)" in last


def test_a_worker_whose_server_runs_already_has_been_met_if_it_was_here(monkeypatch):
    """The chief goes on when it has seen all; who looks for it later finds its server."""
    hosts = _hosts(2)
    looking = rendezvous.connect
    is_late = threading.Event()

    async def late(address):
        if address == hosts[0] and not is_late.is_set():
            raise rendezvous.Unreachable("not yet")
        return await looking(address)

    monkeypatch.setattr(rendezvous, "connect", late)
    other, chief = _Worker(hosts, 1), _Worker(hosts, 0)
    chief.ended()
    is_late.set()
    assert other.ended() == (("GPU 0",), ("GPU 1",))


def test_a_server_of_an_earlier_start_is_not_taken_for_a_worker():
    hosts = _hosts(2)
    with Server(SETTINGS, _port(hosts[1])):
        assert "one of an earlier start that still runs" in _gave_up(_Worker(hosts, 0, 1.0))


def test_a_worker_that_meets_itself_by_anothers_name_says_where_that_leads(copied_hosts):  # T1
    port = free_port()
    last = _gave_up(_Worker([f"node0:{port}", f"node1:{port}"], 1, 1.0))
    expected = "this worker itself answers there: its name means 127.0.1.1 on this machine"
    assert expected in last


@pytest.mark.promise("missing_workers")
def test_all_who_are_missing_are_named_with_their_reasons():
    hosts = _hosts(4)
    with Server(b"SSH-2.0-OpenSSH_9.2\r\n", _port(hosts[3])):
        last = _gave_up(_Worker(hosts, 0, 1.0))
    assert (
        f"worker 1 at {hosts[1]}, worker 2 at {hosts[2]} "
        "(nothing listens there yet: connection refused), "
        f"worker 3 at {hosts[3]} (another program answers there ('SSH-2.0-OpenSSH_9.2'))"
    ) in last


@pytest.mark.promise("missing_workers")
def test_who_is_waited_for_is_said_while_it_is():
    hosts = _hosts(2)
    worker = _Worker(hosts, 0, 1.0)
    assert worker.says(f"Worker 0 has waited 0 s for: worker 1 at {hosts[1]} (nothing listens")
    _gave_up(worker)


PROGRAMS = (  # what each says at once, its reply to whoever speaks, what is said of it
    (None, b"HTTP/1.1 400 Bad Request\r\n", "another program answers there ('HTTP/1.1 400 Bad"),
    (None, b"", "something there accepts connections and says nothing"),
    (b"\x00\xff\x1b[2J", b"", "another program answers there ('...[2J')"),
    (b"tfscale {", b"\n", "another program answers there ('tfscale {')"),
)


def test_programs_that_are_no_workers_are_told_by_what_they_say():
    hosts = _hosts(1 + len(PROGRAMS))
    with contextlib.ExitStack() as servers:
        for address, (words, reply, _) in zip(hosts[1:], PROGRAMS, strict=True):
            servers.enter_context(Server(words, _port(address), reply))
        worker = _Worker(hosts, 0, 4.0)
        left = worker.ended()
    assert isinstance(left, _Left)
    for address, (_, _, reason) in zip(hosts[1:], PROGRAMS, strict=True):
        assert f"at {address} ({reason}" in worker.said[-1]


def test_a_program_that_closes_every_connection_is_told():
    hosts = _hosts(2)
    with Server(None, _port(hosts[1])) as server:
        stopped = threading.Event()

        def drop():
            while not stopped.wait(0.01):
                server.drop()

        dropping = threading.Thread(target=drop)
        dropping.start()
        assert _Worker(hosts, 0, 1.0).says("something there closes the connection")
        stopped.set()
        dropping.join()


def test_a_worker_of_another_job_is_told_by_its_list():
    first, second, third = _hosts(3)
    other = _Worker([first, second], 1, 2.0)
    last = _gave_up(_Worker([third, second], 0, 1.0))
    assert f"a worker of another job answers there, whose --hosts is {first},{second}" in last
    assert isinstance(other.ended(), _Left)


def test_a_worker_that_was_started_with_a_wrong_index_is_told(monkeypatch):
    """It listens at its own machine's port, where another one is looked for."""
    hosts = _hosts(2)
    listening = rendezvous.listen
    monkeypatch.setattr(
        rendezvous, "listen", lambda port: listening(_port(hosts[1]) if wrong else port)
    )
    wrong = True
    double = _Worker(hosts, 0, 2.0)
    assert double.says("this worker itself answers there: has it the wrong --index=0?")
    wrong = False
    right = _Worker(hosts, 0, 1.0)
    last = _gave_up(right)
    assert f"worker 1 at {hosts[1]} (worker 0 answers there: has it the wrong --index=0?)" in last
    assert isinstance(double.ended(), _Left)


def test_a_port_that_is_taken_is_named_at_once_with_who_has_it_and_taken_when_it_is_free():
    hosts = _hosts(2)
    with Server(None, _port(hosts[0])):
        chief = _Worker(hosts, 0)
        assert chief.says(
            f"Worker 0 has waited 0 s for: its own port {_port(hosts[0])}, which is taken by "
        )
        assert "(process " in chief.said[0]
    other = _Worker(hosts, 1)
    assert chief.ended() == (("GPU 0",), ("GPU 1",))
    assert other.ended() == (("GPU 0",), ("GPU 1",))


def test_a_port_that_stays_taken_ends_the_worker_with_a_code_to_try_again():
    hosts = _hosts(2)
    with Server(None, _port(hosts[0])):
        assert "its own port" in _gave_up(_Worker(hosts, 0, 1.0))


def test_who_asks_without_a_word_or_with_nonsense_does_not_count_as_a_worker():
    hosts = _hosts(2)
    chief = _Worker(hosts, 0, 1.0)
    assert chief.says("has waited")
    for words in (b"", b"\n", b"GET / HTTP/1.1\r\n\r\n", b"tfscale {}\n", b"x" * 200_000):
        with rendezvous.socket.create_connection(("127.0.0.1", _port(hosts[0]))) as visitor:
            visitor.sendall(words)
    assert "nothing listens there yet" in _gave_up(chief)
