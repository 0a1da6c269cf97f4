"""What workers tell each other beside gradients, in words, on named channels.

`broadcast` and `all_gather` are called by the main threads of all workers in the same order: a
channel numbers its messages by itself, and takes away what everybody has heard. `send` and
`gather` are the halves of an `all_gather` for threads that speak at another time than they listen,
`post` and `wait_for` what any one worker tells all others; these name each message themselves. All
of them work while the main thread is blocked in a collective.
"""

import contextlib
import itertools
import time
from collections import Counter

import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.startup.key_value_store import Store

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
        self._sent = Counter[str]()  # messages of each channel
        self._removed = Counter[str]()

    @property
    def is_shared(self) -> bool:
        """Whether there are other workers."""
        return self._cluster.num_workers > 1

    @property
    def is_chief(self) -> bool:
        """Whether this worker speaks for all."""
        return self._cluster.is_chief

    def broadcast(self, channel: str, text: str, timeout_seconds: float = 0.0) -> str:
        """The chief's text, on every worker; the others' own text is ignored.

        Args:
            channel: its name.
            text: what the chief says.
            timeout_seconds: how long the others wait; 0 for as long as the chief lives. Who waits
                for whom the watchdog says.
        """
        if not self.is_shared:
            return text
        key = self._key(self._next(channel), 0)
        if self._cluster.is_chief:
            self._store.put(key, text)
            return text
        return self._store.get(key, timeout_seconds)

    def all_gather(self, channel: str, text: str, timeout_seconds: float = 0.0) -> list[str]:
        """What every worker says, in the order of the rank.

        Args:
            channel: its name.
            text: what this worker says.
            timeout_seconds: how long each is waited for; 0 for as long as it lives.
        """
        if not self.is_shared:
            return [text]
        sent = self.sent(channel)
        message = self._next(channel)
        self.send(message, text)
        said = self._gather(message, timeout_seconds)
        self.remove(channel, sent)  # who has said something now has heard all that was said before
        return said

    def sent(self, channel: str) -> int:
        """How many messages a channel has had."""
        return self._sent[channel]

    def remove(self, channel: str, count: int) -> None:
        """Takes away this worker's part of the first messages of a channel: all have heard them.

        Args:
            channel: its name.
            count: what `sent` has given when the last of them was sent.
        """
        while self._removed[channel] < count:
            self.withdraw(self._key_within(f"{channel}/{self._removed[channel]}"))
            self._removed[channel] += 1

    def send(self, message: str, text: str) -> None:
        """Says this worker's part of what `gather` gives.

        Args:
            message: its name, once a run.
            text: what this worker says.
        """
        self._store.put(self._key(message, self._cluster.index), text)

    def gather(self, message: str) -> list[str]:
        """What every worker has sent, in the order of the rank; waits for all."""
        return self._gather(message, 0.0)

    def gather_within(self, message: str, seconds: float) -> list[str | None]:
        """As `gather`, with None for a worker that says nothing in this time."""
        deadline = time.monotonic() + seconds
        said: list[str | None] = []
        for rank in range(self._cluster.num_workers):
            left = max(0.001, deadline - time.monotonic())
            try:
                said.append(self._store.get(self._key(message, rank), left))
            except (tf.errors.OpError, RuntimeError):
                said.append(None)
        return said

    def unsend(self, message: str) -> None:
        """Takes away what this worker has sent and everybody has heard."""
        self.withdraw(self._key_within(message))

    def post(self, message: str, text: str) -> None:
        """Says something for all workers; only the first who does is heard."""
        with contextlib.suppress(tf.errors.OpError, RuntimeError):
            self._store.put(f"{self._prefix}/{message}", text)

    def wait_for(self, message: str) -> str:
        """What was posted, however long that takes; "" when the board has ended."""
        try:
            return self._store.get(f"{self._prefix}/{message}")
        except (tf.errors.OpError, RuntimeError):
            return ""

    def withdraw(self, message: str) -> None:
        """Takes away what was posted and everybody has heard."""
        if self.is_shared:
            with contextlib.suppress(tf.errors.OpError, RuntimeError):
                self._store.remove(f"{self._prefix}/{message}")

    def barrier(self, name: str, timeout_seconds: float = 600.0) -> None:
        """Returns when every worker has come here."""
        if self.is_shared:
            self._store.meet(f"{self._prefix}/{name}", timeout_seconds)

    def _next(self, channel: str) -> str:
        number = self._sent[channel]
        self._sent[channel] += 1
        return f"{channel}/{number}"

    def _gather(self, message: str, timeout_seconds: float) -> list[str]:
        return [
            self._store.get(self._key(message, rank), timeout_seconds)
            for rank in range(self._cluster.num_workers)
        ]

    def _key_within(self, message: str) -> str:
        return f"{message}/{self._cluster.index}"

    def _key(self, message: str, rank: int) -> str:
        return f"{self._prefix}/{message}/{rank}"
