import errno
import os
import socket

import psutil
import pytest

from tests.startup.greeting import free_port
from tfscale.errors import ConfigError
from tfscale.startup.network import own_port as own_port
from tfscale.startup.network.own_port import PortTaken, holder, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_is_had_for_both_families(host):
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6")
    number = free_port()
    with listen(number):
        socket.create_connection((host, number), timeout=5.0).close()


def test_a_port_that_another_program_has_is_taken_by_its_name_and_number():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken):
            listen(port)
        assert holder(port) == f"{psutil.Process().name()} (process {os.getpid()})"


def test_a_program_of_another_user_is_told_as_such(monkeypatch):
    def denied(kind):
        raise psutil.AccessDenied(1)

    monkeypatch.setattr(psutil, "net_connections", denied)
    assert holder(1234) == "a program that this user may not see"


def test_a_port_that_this_user_may_not_have_is_refused(monkeypatch):
    def denied(*args, **kwargs):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(own_port.socket, "create_server", denied)
    with pytest.raises(ConfigError, match=r"port 80 \(Permission denied\); expected one .* 1023"):
        listen(80)
