"""This worker's own port: taken before TensorFlow takes it, and whoever else has it is named."""

import errno
import socket

import psutil

from tfscale.errors import ConfigError

_BACKLOG = 1024


class PortTaken(Exception):
    """Something else listens at this worker's port."""


def listen(port: int) -> socket.socket:
    """Listens at a port as TensorFlow's server will: on every interface.

    Raises:
        PortTaken: somebody has it, maybe for a moment only.
        ConfigError: it can't be had.
    """
    try:
        if not socket.has_dualstack_ipv6():
            return socket.create_server(("", port), backlog=_BACKLOG)
        family = socket.AF_INET6  # for both families at once
        return socket.create_server(
            ("", port), family=family, dualstack_ipv6=True, backlog=_BACKLOG
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken from error
        raise ConfigError(
            f"This worker can't listen on its port {port} ({error.strerror}); expected one that "
            "it may have. Use another port in --hosts, above 1023."
        ) from error


def holder(port: int) -> str:
    """Who listens at a port of this machine, as far as this user may see it."""
    try:
        found = [
            each.pid
            for each in psutil.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        ]
        # A worker that has just been killed is gone when somebody looks.
        names = [f"{psutil.Process(pid).name()} (process {pid})" for pid in found if pid]
    except (psutil.Error, OSError):
        names = []
    return ", ".join(dict.fromkeys(names)) or "a program that this user may not see"
