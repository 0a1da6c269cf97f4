"""What a whole program trains: invented images, from a seed, the same for all programs."""

import json
from dataclasses import dataclass

import numpy as np

from tfscale.cluster.cluster import Cluster

BATCH = 64  # of each worker


@dataclass(frozen=True)
class WholeTask:
    """One worker's part.

    Args:
        hosts: `host:port` of every worker; empty for a worker alone.
        index: of this worker.
        epochs: passes over the images.
        steps: of an epoch.
        folder: that a program may write to, the same for all its workers.
    """

    hosts: tuple[str, ...] = ()
    index: int = 0
    epochs: int = 2
    steps: int = 30
    folder: str = ""

    @property
    def cluster(self) -> Cluster:
        """Who the workers are."""
        return Cluster.from_hosts(self.hosts, self.index) if self.hosts else Cluster()

    @classmethod
    def from_json(cls, text: str) -> "WholeTask":
        """The task that a program was started with."""
        values = json.loads(text)
        return cls(**{**values, "hosts": tuple(values["hosts"])})

    def images(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Images, float32 (n, 32, 32, 3), and labels, int32 (n,), of all workers together.

        Args:
            split: "train", or "validation" with a quarter as many.
        """
        steps = self.steps if split == "train" else max(1, self.steps // 4)
        count = steps * BATCH * self.cluster.num_workers
        generator = np.random.default_rng(len(split))
        labels = generator.integers(0, 10, count).astype(np.int32)
        noise = generator.normal(size=(count, 32, 32, 3)).astype(np.float32)
        return noise + labels[:, None, None, None] / 5, labels
