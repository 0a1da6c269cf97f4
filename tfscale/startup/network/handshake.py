"""How workers that meet tell each other who they are: one line each, before TensorFlow is there."""

import json
import secrets
from dataclasses import dataclass

from tfscale.cluster.cluster import Cluster
from tfscale.cluster.machines import canonical_address

GREETING = b"tfscale "
SEEN = b"seen\n"  # the answer of whoever has been asked, once it knows who asks


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself.

    Args:
        rank: which worker it is.
        hosts: `host:port` of all workers of its job, as it was given them.
        process: tells it from every other process that may say the same.
        refusal: why it doesn't take part, and nobody needs to wait for it; empty if it does.
    """

    rank: int
    hosts: tuple[str, ...]
    process: str
    refusal: str = ""

    @classmethod
    def of(cls, cluster: Cluster, refusal: str = "") -> "Hello":
        """This worker's."""
        return cls(cluster.index, cluster.addresses, secrets.token_hex(8), refusal)

    def line(self) -> bytes:
        """As it travels."""
        told = {"rank": self.rank, "hosts": self.hosts, "process": self.process}
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

    def problem_with(self, other: "Hello", rank: int) -> str:
        """Why the one that answers isn't the worker of a rank that is looked for; "" if it is."""
        if other.process == self.process:
            return f"this worker itself answers there: has it the wrong --index={self.rank}?"
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
        refusal = told.get("refusal", "")
        hello = Hello(told["rank"], tuple(told["hosts"]), told["process"], refusal)
        # Whoever reaches the port may say anything.
        if type(hello.rank) is not int or not 0 <= hello.rank < len(hello.hosts):
            return None
        for host in hello.hosts:
            canonical_address(host)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return hello if isinstance(hello.process, str) and isinstance(refusal, str) else None


def _short(hosts: tuple[str, ...]) -> str:
    shown = ",".join(hosts[:4])
    return shown if len(hosts) <= 4 else f"{shown},... ({len(hosts)} workers)"
