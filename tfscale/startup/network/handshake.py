"""How workers that meet tell each other who they are: one line each, before TensorFlow is there."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from tfscale.cluster.cluster import Cluster
from tfscale.cluster.machines import canonical_address, misnamed, split_address

GREETING = b"tfscale "
SEEN = b"seen\n"  # the answer of whoever has been asked, once it knows who asks


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself.

    Args:
        rank: which worker it is.
        hosts: `host:port` of all workers of its job, as it was given them.
        process: tells it from every other process that may say the same.
        gpus: UUIDs of those that it sees.
        refusal: why it doesn't take part, and nobody needs to wait for it; empty if it does.
    """

    rank: int
    hosts: tuple[str, ...]
    process: str
    gpus: tuple[str, ...] = ()
    refusal: str = ""

    @classmethod
    def of(cls, cluster: Cluster, gpus: Sequence[str] = (), refusal: str = "") -> "Hello":
        """This worker's."""
        own = secrets.token_hex(8)
        return cls(cluster.index, cluster.addresses, own, tuple(gpus), refusal)

    def line(self) -> bytes:
        """As it travels."""
        told = {"rank": self.rank, "hosts": self.hosts, "process": self.process}
        told |= {"gpus": self.gpus} if self.gpus else {}
        told |= {"refusal": self.refusal} if self.refusal else {}
        return GREETING + json.dumps(told).encode() + b"\n"

    def is_of_same_job(self, other: "Hello") -> bool:
        """Whether the two have the same list of workers.

        Each may have its own way to write its own host, as some schedulers do: `localhost`.
        """
        ours, theirs = (
            [canonical_address(address) for address in hello.hosts] for hello in (self, other)
        )
        if [port for _, port in ours] != [port for _, port in theirs]:
            return False
        own = (self.rank, other.rank)
        pairs = enumerate(zip(ours, theirs, strict=True))
        return all(mine == its or rank in own for rank, (mine, its) in pairs)

    def problem_with(self, other: "Hello", rank: int, number: str) -> str:
        """Why the one that answers isn't the worker of a rank that is looked for; "" if it is.

        Args:
            other: what it says of itself.
            rank: that is looked for.
            number: of the machine that it answers from.
        """
        if other.process == self.process:
            why = misnamed(split_address(self.hosts[rank])[0], number)
            why = why or f"has it the wrong --index={self.rank}?"
            return f"this worker itself answers there: {why}"
        if not self.is_of_same_job(other):
            return f"a worker of another job answers there, whose --hosts is {_short(other.hosts)}"
        if other.rank != rank:
            return f"worker {other.rank} answers there: has it the wrong --index={other.rank}?"
        return ""


def read_hello(line: bytes) -> Hello | None:
    """What somebody said of itself; None if that is nothing which a worker says."""
    if not line.startswith(GREETING):
        return None
    try:
        told = json.loads(line.removeprefix(GREETING))
        refusal, gpus = told.get("refusal", ""), tuple(told.get("gpus", ()))
        hello = Hello(told["rank"], tuple(told["hosts"]), told["process"], gpus, refusal)
        # Whoever reaches the port may say anything.
        if type(hello.rank) is not int or not 0 <= hello.rank < len(hello.hosts):
            return None
        for host in hello.hosts:
            canonical_address(host)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    texts = (hello.process, refusal, *gpus)
    return hello if all(isinstance(text, str) for text in texts) else None


def _short(hosts: tuple[str, ...]) -> str:
    shown = ",".join(hosts[:4])
    return shown if len(hosts) <= 4 else f"{shown},... ({len(hosts)} workers)"
