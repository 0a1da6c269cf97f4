"""What a doctor is asked: the flags of its program, and where it is."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tfscale.cluster.cluster import Cluster


@dataclass(frozen=True)
class Asked:
    """What is asked for, the same on every node.

    Args:
        resolve: finds out who the workers are, as for a run.
        environ: of this process.
        run_dir: the folder that is looked at; "" for none.
        start_timeout: seconds to wait for the other nodes.
        collectives: as of a run.
        wire_dtype: as of a run.
        devices: as of a run.
        gpus: that each node should have; 0 where nobody says.
        is_public_allowed: as of a run.
        clock: seconds since 1970.
    """

    resolve: Callable[[], Cluster]
    environ: Mapping[str, str]
    run_dir: str = ""
    start_timeout: float = 20.0
    collectives: str = "auto"
    wire_dtype: str = "float32"
    devices: int = 0
    gpus: int = 0
    is_public_allowed: bool = False
    clock: Callable[[], float] = time.time

    @property
    def least_gpus(self) -> int:
        """GPUs that this node should have, by a flag, by what needs one, or by the scheduler."""
        told = self.environ.get("SLURM_GPUS_ON_NODE", "")
        by_scheduler = int(told) if told.isdigit() and not self.devices else 0
        return self.gpus or by_scheduler or int(self.collectives == "nccl")
