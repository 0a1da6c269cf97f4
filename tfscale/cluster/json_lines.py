"""What workers tell each other before TensorFlow is there: a line of JSON at a time."""

import contextlib
import json
import socket
import time
from collections.abc import Iterable, Mapping

from tfscale.structures import Json

_MOST_BYTES = 2**22  # of a line


class JsonLines:
    """Lines of JSON that come through a connection.

    Args:
        connection: of which nothing was read.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._data = connection, b""

    def next(self, seconds: float) -> dict[str, Json] | None:
        """The next one; None where none comes in this time, it is none, or the other has gone."""
        deadline = time.monotonic() + seconds
        try:
            while b"\n" not in self._data:
                self._connection.settimeout(max(0.01, deadline - time.monotonic()))
                more = self._connection.recv(65536)
                if not more or len(self._data) > _MOST_BYTES:
                    return None
                self._data += more
            line, _, self._data = self._data.partition(b"\n")
            found = json.loads(line)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def tell(connections: Iterable[socket.socket], words: Mapping[str, object]) -> None:
    """Sends a line to all of them; who has gone meanwhile doesn't get it."""
    line = json.dumps(words).encode() + b"\n"
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(line)
