"""Free ports on this machine, for workers that are tried out here."""

import contextlib
import socket


def free_addresses(count: int) -> list[str]:
    """Gives `count` different loopback addresses `127.0.0.1:PORT` on which nothing listens."""
    with contextlib.ExitStack() as stack:
        # All stay open until all are chosen: the system never gives one port twice that way.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
