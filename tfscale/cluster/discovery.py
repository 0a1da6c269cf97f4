"""Who the workers are, from everything that may say so."""

from collections.abc import Mapping, Sequence

from tfscale.cluster.addresses import HOSTS_EXAMPLE, refusal, split_hosts
from tfscale.cluster.cluster import Cluster
from tfscale.cluster.launchers import task_of
from tfscale.cluster.machines import canonical_address
from tfscale.cluster.tf_config import VARIABLE, read_tf_config

_ALONE = "--hosts=localhost:12345"


def resolve(
    hosts: str | Sequence[str] | None, index: int | None, environ: Mapping[str, str]
) -> Cluster:
    """Decides who the workers are from everything that may say so.

    `TF_CONFIG` comes first, because a scheduler that sets it knows best; flags beside it may
    only repeat it. Without either, the job runs on this machine alone, unless a launcher has
    started several tasks: each would be alone and take itself for the chief. A value that is
    there but empty is an error: it is usually a variable that a script forgot to fill in, and
    every worker would train for itself without a word.

    Args:
        hosts: value of `--hosts`, None when not given.
        index: value of `--index`, None when not given.
        environ: the environment of this process.

    Raises:
        ConfigError: one of them is malformed or incomplete, they contradict each other, or there
            is none though this process is one of several tasks.
    """
    if VARIABLE not in environ:
        if hosts is not None:
            return Cluster.from_hosts(hosts, index)
        if index is not None:
            came = f"--index={index} came without --hosts"
            raise refusal(came, "both, or neither to use this machine alone", HOSTS_EXAMPLE)
        _require_one_task(environ)
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


def _require_one_task(environ: Mapping[str, str]) -> None:
    """Refuses what would be several trainings of one worker each, most often in one folder.

    Who means that says so with a cluster of one worker.
    """
    task = task_of(environ)
    if task is None or task.size == 1:
        return
    raise refusal(
        f"This is task {task.rank} of {task.size} of {task.launcher} "
        f"({task.size_variable}={task.size}, {task.rank_variable}={task.rank}), and nothing tells "
        "them of each other",
        "--hosts and --index on each of them, or TF_CONFIG",
        f"--hosts=node0:12345,node1:12345 --index=${task.rank_variable} in what each task runs "
        f"(bash -c '...'); or, if each is to train for itself in a --run_dir of its own, {_ALONE}",
    )


def _spelled_alike(addresses: Sequence[str]) -> list[tuple[str, int]]:
    return [canonical_address(address) for address in addresses]
