"""Servers of this process that stand for a worker's TensorFlow, or for another program."""

import contextlib
import socket
import threading
import time

SETTINGS = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x05\x00\x00\x40\x00"
DEADLINE_SECONDS = 20.0


class Server:
    """Says its words to whoever connects to its port, and keeps the connection open.

    Args:
        words: said at once; nothing is if they are None.
        port: 0 for a free one.
        reply: said to whatever is asked.
    """

    def __init__(self, words=SETTINGS, port=0, reply=b""):
        self.words, self._reply = words, reply
        self._listening = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self._listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.connections = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections.append(connection)
                if self.words is not None:
                    connection.sendall(self.words)
                if self._reply:
                    threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection):
        with contextlib.suppress(OSError):
            if connection.recv(1000):
                connection.sendall(self._reply)

    def drop(self):
        """Closes all connections, as a server does with those that never speak."""
        connections, self.connections = self.connections, []
        for connection in connections:
            connection.close()

    def end(self):
        """Closes everything at once, as the system does with a process that is killed."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.drop()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.end()


def free_port():
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def comes_true(is_true):
    """Whether it does so within a generous time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_true()
