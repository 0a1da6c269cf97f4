"""What tests of how workers find each other share."""

import socket

import pytest


@pytest.fixture
def copied_hosts(monkeypatch):
    """A machine whose /etc/hosts was copied from node0, and leads to itself by that name."""
    found = socket.getaddrinfo

    def copied(host, *args, **kwargs):
        return found("127.0.1.1" if host == "node0" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", copied)
