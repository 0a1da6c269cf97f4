"""What is found at an address: on this machine's own, no network."""

import asyncio
import socket

import pytest

from tests.startup.greeting import SETTINGS, Server, free_port
from tfscale.startup.network import probe
from tfscale.startup.network.probe import Unreachable, connect, is_answering, is_grpc, run_apart


def _problem(address, timeout_seconds=1.0):
    with pytest.raises(Unreachable) as caught:
        run_apart(lambda: connect(address, timeout_seconds))
    return caught.value


def _first_words(address, timeout_seconds=1.0):
    async def asked():
        link = await connect(address)
        words = await link.first_words(timeout_seconds)
        link.close()
        return words

    return run_apart(asked)


def test_a_port_at_which_nobody_listens_is_told_in_plain_words():
    problem = _problem(f"127.0.0.1:{free_port()}")
    assert problem.reason == "nothing listens there yet: connection refused"
    assert problem.is_refused


def test_a_name_that_nobody_knows_is_told(monkeypatch):
    known = socket.getaddrinfo

    def lookup(host, *args, **kwargs):
        if host == "node1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    problem = _problem("node1:1234")
    assert problem.reason == "its host name does not resolve: Name or service not known"
    assert not problem.is_refused


def test_a_name_server_that_is_silent_is_told_and_not_waited_for(monkeypatch):
    known, answered = socket.getaddrinfo, probe.threading.Event()

    def lookup(host, *args, **kwargs):
        if kwargs.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        answered.wait(20.0)
        return known("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(probe, "_LOOKUP_SECONDS", 0.1)
    assert "the name server is silent" in _problem("node1:1234").reason
    answered.set()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (113, "no route to that machine"),
        (101, "no route to that machine"),
        (5, "Input/output error"),
    ],
)
def test_what_the_system_says_is_told_in_plain_words_where_there_are_any(
    monkeypatch, number, words
):
    async def refuse(*args, **kwargs):
        raise OSError(number, "Input/output error")

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    assert words in _problem("127.0.0.1:1234").reason


def test_a_name_that_leads_to_this_machine_itself_is_told(copied_hosts):  # T1
    port = free_port()
    said = "nothing listens there yet: connection refused"
    expected = f"{said} (its name means 127.0.1.1 on this machine, see /etc/hosts)"
    assert _problem(f"node0:{port}").reason == expected
    assert _problem(f"127.0.1.1:{port}").reason == said


def test_a_machine_that_does_not_answer_is_told(monkeypatch):  # T26
    async def hang(*args, **kwargs):
        await asyncio.sleep(60.0)

    monkeypatch.setattr(asyncio, "open_connection", hang)
    problem = _problem("127.0.0.1:1234", timeout_seconds=0.1)
    assert problem.reason == "no answer within 0.1 s: a firewall, or the machine is down"


def test_a_connection_of_a_port_with_itself_is_none(monkeypatch):
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.connect(own.getsockname())  # what may happen to who asks for a port of its own machine
        opened = asyncio.open_connection

        async def open_own(*args, **kwargs):
            return await opened(sock=own.dup())

        monkeypatch.setattr(asyncio, "open_connection", open_own)
        assert _problem("127.0.0.1:1234").is_refused


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6")
def test_an_address_of_ipv6_is_asked_without_its_brackets():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as there:
        address = f"[::1]:{there.getsockname()[1]}"

        async def asked():
            (await connect(address)).close()

        run_apart(asked)


def test_only_what_greets_as_grpc_does_answers():
    with Server() as worker, Server(b"SSH-2.0-OpenSSH_9.2\r\n") as other, Server(None) as stopped:
        found = [
            run_apart(lambda at=each.address: is_answering(at, 0.2))
            for each in (worker, other, stopped)
        ]
        assert found == [True, False, False]
        closed = worker.address
    assert not run_apart(lambda: is_answering(closed, 0.2))


def test_the_settings_of_http2_are_told_from_other_words():
    assert is_grpc(SETTINGS)
    for words in (None, b"", SETTINGS[:8], b"HTTP/1.1 400 Bad Request\r\n", b"\x00" * 20):
        assert not is_grpc(words)


def test_silence_is_told_from_an_end():
    with Server(None) as silent, Server(b"") as closing:
        assert _first_words(silent.address, 0.1) is None
        closing.words = None
        closing.end()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"

        async def asked():
            link = await connect(address)
            listening.accept()[0].close()
            words = await link.first_words()
            link.close()
            return words

        assert run_apart(asked) == b""


def test_an_error_of_what_runs_apart_is_raised_where_it_was_asked_for():
    async def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_apart(fail)


def test_it_runs_apart_where_a_loop_runs_already():
    async def notebook():
        return run_apart(lambda: asyncio.sleep(0, "done"))

    assert asyncio.run(notebook()) == "done"
