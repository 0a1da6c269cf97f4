"""A job as one of its workers sees it: all that has to stand before data is read."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfscale.cluster import exposure
from tfscale.cluster.cluster import Cluster
from tfscale.process.terminal import Terminal
from tfscale.settings import Config
from tfscale.startup.board import Board
from tfscale.startup.devices import Devices, claim_devices, set_numerics
from tfscale.startup.network.heartbeats import set_heartbeat_timeout
from tfscale.startup.strategy import collectives_for, make_strategy


@dataclass(frozen=True)
class Job:
    """What every later stage of a run works with.

    Args:
        config: what is asked for, the same on every worker.
        cluster: who the workers are and which of them this process is.
        devices: this worker's.
        strategy: TensorFlow's, over all replicas.
        collectives: how gradients are summed: "nccl", "ring", or "none" for a single replica.
        board: what workers tell each other beside gradients.
        terminal: where this worker's words go; the chief's alone shows progress.
        end: gives back what the job has set for the whole process.
    """

    config: Config
    cluster: Cluster
    devices: Devices
    strategy: tf.distribute.Strategy
    collectives: str
    board: Board
    terminal: Terminal
    end: Callable[[], None]

    @classmethod
    def start(
        cls, config: Config, cluster: Cluster, terminal: Terminal, *, is_emulated: bool = False
    ) -> "Job":
        """Claims this worker's devices, and returns when all workers have met.

        Args:
            config: what is asked for.
            cluster: who the workers are.
            terminal: where this worker's words go.
            is_emulated: whether what computes only stands for a GPU; see `claim_devices`.

        Raises:
            ConfigError: a device or a port can't be had, this worker's address is a public one, or
                an earlier run of this process was of another kind.
        """
        exposure.require_private(cluster, is_public_allowed=config.allow_public_network)
        if not cluster.is_chief:
            terminal = terminal.silenced()
        if cluster.num_workers > 1:
            terminal.show(exposure.described(cluster))
        devices = claim_devices(config.devices, cluster, terminal.complain, is_emulated=is_emulated)
        end = set_numerics(config.precision, config.seed)
        collectives = collectives_for(config.collectives, devices, cluster.num_workers)
        if cluster.num_workers > 1:
            set_heartbeat_timeout(cluster, config.heartbeat_timeout, terminal.complain)
        strategy, devices = make_strategy(
            cluster,
            devices,
            collectives,
            timeout_seconds=config.start_timeout,
            complain=terminal.complain,
            terminal=terminal.descriptor,
        )
        board = Board(cluster, terminal.complain, config.heartbeat_timeout)
        return cls(config, cluster, devices, strategy, collectives, board, terminal, end)

    @classmethod
    def alone(cls, config: Config, cluster: Cluster, terminal: Terminal) -> "Job":
        """A rehearsal of this worker's part: nobody is waited for, and nothing is told to anybody.

        Raises:
            ConfigError: a device can't be had.
        """
        devices = claim_devices(config.devices, cluster, terminal.complain)
        end = set_numerics(config.precision, config.seed)
        collectives = collectives_for(config.collectives, devices, cluster.num_workers)
        board = Board(Cluster(), terminal.complain)
        strategy = tf.distribute.get_strategy()
        return cls(config, cluster, devices, strategy, collectives, board, terminal, end)
