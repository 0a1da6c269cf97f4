"""Who the workers are, and which of them this process is.

A `Cluster` is decided once, before TensorFlow is imported (see `discovery`). Everything else is
handed the result and never looks at the environment. Ranks are global: the chief is 0 and the
workers follow in the order of the list.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tfscale.cluster.addresses import checked_addresses, checked_rank, refusal, split_hosts
from tfscale.cluster.machines import same_machine, split_address


@dataclass(frozen=True)
class Cluster:
    """The workers of a job as one of them sees them.

    Args:
        addresses: `host:port` of every worker in the order of the global rank, the same on
            every worker; empty for a single machine that needs no address.
        index: global rank of this worker, 0 to `num_workers - 1`; differs on every worker.
        has_chief: whether rank 0 is called `chief` in `TF_CONFIG`; training is the same.
        source: who has said so, for the reader of the plan; "" for the flags.
    """

    addresses: tuple[str, ...] = ()
    index: int = 0
    has_chief: bool = False
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuses an index that is no rank of this cluster."""
        checked_rank(self.index, self.num_workers, "index", "Cluster(addresses, index=0)")

    @classmethod
    def from_hosts(cls, hosts: str | Sequence[str], index: int | None) -> "Cluster":
        """The cluster of `--hosts` (a list, or one text with commas) and `--index`.

        `index` may be None where there is one host only. Raises `ConfigError`.
        """
        addresses = split_hosts(hosts)
        example = f"--hosts={','.join(addresses)} --index=0"
        if index is None and len(addresses) > 1:
            raise refusal(
                f"--hosts names {len(addresses)} workers but --index is missing",
                f"which of them this process is, 0 to {len(addresses) - 1}",
                f"{example} on the first of them, --index=1 on the second",
            )
        rank = 0 if index is None else index
        return cls(addresses, checked_rank(rank, len(addresses), "--index", example))

    def of_processes(self, processes: int, process: int) -> "Cluster":
        """The cluster where each of these is a node that has several workers.

        They take the ports that follow each node's; a machine alone gets some that nobody tries.

        Args:
            processes: of each node.
            process: which of its node's this worker is, from 0.

        Raises:
            ConfigError: two would have the same port.
        """
        if processes == 1:
            return self
        nodes = [split_address(address) for address in self.addresses or ("localhost:20000",)]
        addresses = [f"{host}:{port + k}" for host, port in nodes for k in range(processes)]
        source = f"--processes_per_node={processes}"
        checked = checked_addresses(addresses, source, "--hosts=node0:2222,node1:2222")
        return replace(self, addresses=checked, index=self.index * processes + process)

    def named(self, rank: int) -> str:
        """What people call a worker: with its address, unless there is only one.

        Args:
            rank: global.
        """
        where = f" at {self.addresses[rank]}" if self.num_workers > 1 else ""
        return f"worker {rank}{where}"

    @property
    def num_workers(self) -> int:
        """Number of training processes, at least 1."""
        return max(1, len(self.addresses))

    @property
    def workers_here(self) -> int:
        """Number of workers on this worker's machine, which share its processors; at least 1."""
        return sum(self._are_here) or 1

    @property
    def index_here(self) -> int:
        """Which of the workers on its machine this one is, from 0."""
        return sum(self._are_here[: self.index])

    @property
    def _are_here(self) -> list[bool]:
        """Whether each worker is on this one's machine."""
        hosts = [split_address(address)[0] for address in self.addresses]
        return same_machine(hosts, hosts[self.index]) if hosts else []

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the files of the run."""
        return self.index == 0
