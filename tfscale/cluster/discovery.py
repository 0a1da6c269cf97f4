"""Who the workers are, from everything that may say so."""

from collections.abc import Mapping, Sequence

from tfscale.cluster.addresses import HOSTS_EXAMPLE, refusal, split_hosts
from tfscale.cluster.cluster import Cluster
from tfscale.cluster.machines import canonical_address
from tfscale.cluster.tf_config import VARIABLE, read_tf_config


def resolve(
    hosts: str | Sequence[str] | None, index: int | None, environ: Mapping[str, str]
) -> Cluster:
    """Decides who the workers are from everything that may say so.

    `TF_CONFIG` comes first, because a scheduler that sets it knows best; flags beside it may
    only repeat it. Without either, the job runs on this machine alone. A value that is there
    but empty is an error: it is usually a variable that a script forgot to fill in, and every
    worker would train for itself without a word.

    Args:
        hosts: value of `--hosts`, None when not given.
        index: value of `--index`, None when not given.
        environ: the environment of this process.

    Raises:
        ConfigError: one of them is malformed or incomplete, or they contradict each other.
    """
    if VARIABLE not in environ:
        if hosts is not None:
            return Cluster.from_hosts(hosts, index)
        if index is not None:
            came = f"--index={index} came without --hosts"
            raise refusal(came, "both, or neither to use this machine alone", HOSTS_EXAMPLE)
        return Cluster()
    cluster = read_tf_config(environ[VARIABLE])
    addresses = cluster.addresses if hosts is None else split_hosts(hosts)
    rank = cluster.index if index is None else index
    if rank != cluster.index or _spelled_alike(addresses) != _spelled_alike(cluster.addresses):
        raise refusal(
            f"TF_CONFIG says --hosts={','.join(cluster.addresses)} --index={cluster.index} but "
            f"the flags say --hosts={','.join(addresses)} --index={rank}",
            "the same from both, or one of them only",
            "`unset TF_CONFIG` to use the flags, or leave out --hosts and --index",
        )
    return cluster


def _spelled_alike(addresses: Sequence[str]) -> list[tuple[str, int]]:
    return [canonical_address(address) for address in addresses]
