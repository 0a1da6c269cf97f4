"""What workers tell each other beside gradients, in words.

It works from any thread, also while the main thread is blocked in a collective.
"""

import contextlib
import itertools
import time

import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.startup.store import Store

_runs = itertools.count()  # every run of a process has keys of its own, the same on all workers


class Notes:
    """The store as the workers of one run use it; with one worker nothing leaves the process.

    Args:
        cluster: who writes and who reads.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Begins a run; the strategy has to stand already."""
        self._cluster = cluster
        self._prefix = f"tfscale/{next(_runs)}"
        self._store = Store(cluster.addresses[0] if cluster.addresses else "")

    def exchange(self, topic: str, text: str, timeout_seconds: float = 0.0) -> list[str]:
        """Gives what every worker said about `topic`, in the order of the rank.

        Args:
            topic: what it is about, once a run.
            text: what this worker says.
            timeout_seconds: how long each is waited for; 0 for as long as it lives. Who waits for
                whom the watchdog says.
        """
        if self._cluster.num_workers == 1:
            return [text]
        self.tell(topic, text)
        return [
            self._store.get(self._key(topic, rank), timeout_seconds)
            for rank in range(self._cluster.num_workers)
        ]

    def say(self, topic: str, text: str, timeout_seconds: float = 0.0) -> str:
        """The chief's text about `topic`, on every worker; the others' own text is ignored.

        Args:
            topic: what it is about, once a run.
            text: what the chief says.
            timeout_seconds: how long the others wait; 0 for as long as the chief lives.
        """
        if self._cluster.num_workers == 1:
            return text
        if self._cluster.is_chief:
            self._store.put(self._key(topic, 0), text)
            return text
        return self._store.get(self._key(topic, 0), timeout_seconds)

    @property
    def is_shared(self) -> bool:
        """Whether there are other workers."""
        return self._cluster.num_workers > 1

    def post(self, topic: str, text: str) -> None:
        """Says something for all workers; only the first who does is heard."""
        with contextlib.suppress(tf.errors.OpError, RuntimeError):
            self._store.put(f"{self._prefix}/{topic}", text)

    def withdraw(self, topic: str) -> None:
        """Takes away what was posted and everybody has heard."""
        with contextlib.suppress(tf.errors.OpError, RuntimeError):
            self._store.remove(f"{self._prefix}/{topic}")

    def awaited(self, topic: str) -> str:
        """What was posted, however long that takes; "" when the board has ended."""
        try:
            return self._store.get(f"{self._prefix}/{topic}")
        except (tf.errors.OpError, RuntimeError):
            return ""

    def tell(self, topic: str, text: str) -> None:
        """Says this worker's part of what `heard_of_all` gives."""
        self._store.put(self._key(topic, self._cluster.index), text)

    def heard_of_all(self, topic: str) -> list[str]:
        """What every worker tells about a topic, in the order of the rank; waits for all."""
        return [
            self._store.get(self._key(topic, rank)) for rank in range(self._cluster.num_workers)
        ]

    def heard_within(self, topic: str, seconds: float) -> list[str | None]:
        """As `heard_of_all`, with None for a worker that says nothing in this time."""
        deadline = time.monotonic() + seconds
        said: list[str | None] = []
        for rank in range(self._cluster.num_workers):
            left = max(0.001, deadline - time.monotonic())
            try:
                said.append(self._store.get(self._key(topic, rank), left))
            except (tf.errors.OpError, RuntimeError):
                said.append(None)
        return said

    def forget(self, topic: str) -> None:
        """Takes away what this worker has said and everybody has heard."""
        if self._cluster.num_workers > 1:
            self._store.remove(self._key(topic, self._cluster.index))

    def barrier(self, name: str, timeout_seconds: float = 600.0) -> None:
        """Returns when every worker has come here."""
        if self._cluster.num_workers > 1:
            self._store.meet(f"{self._prefix}/{name}", timeout_seconds)

    def _key(self, topic: str, rank: int) -> str:
        return f"{self._prefix}/{topic}/{rank}"
