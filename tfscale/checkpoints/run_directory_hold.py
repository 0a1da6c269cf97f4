"""One run at a time has a run directory; who comes second is told before it waits for others."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tfscale.cluster import exposure
from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.files.run_lock import RunLock
from tfscale.process.exit import do_on_leaving
from tfscale.process.terminal import Terminal
from tfscale.settings import Config
from tfscale.startup.network.rendezvous import refuse


@contextlib.contextmanager
def hold(config: Config, cluster: Cluster, terminal: Terminal) -> Iterator[RunLock]:
    """In the body the run directory is this run's alone, or else no worker gets there.

    Raises:
        ConfigError: another run has it.
    """
    lock = RunLock(Path(config.run_dir), terminal.complain)
    with contextlib.ExitStack() as ending:
        if cluster.is_chief:
            if reason := lock.take():
                # The others wait for this worker; they are told on a port that may be open.
                exposure.require_private(cluster, is_public_allowed=config.allow_public_network)
                refuse(cluster, reason)
                raise ConfigError(reason)
            ending.callback(lock.release)
            ending.enter_context(do_on_leaving(lock.release))
        yield lock
