"""Who this process is, for code of the user's that nobody hands a cluster to."""

from tfscale.cluster.cluster import Cluster

_of_last_run = [Cluster()]


def take_part(cluster: Cluster) -> None:
    """Remembers who this process is in the run that begins."""
    _of_last_run[0] = cluster


def is_chief() -> bool:
    """Whether this process is worker 0 of the run that it is in, or was in last.

    True before any run, so that code which asks also works in plain Keras.
    """
    return _of_last_run[0].is_chief
