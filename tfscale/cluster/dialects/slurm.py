"""Slurm: `srun` says which nodes a step has, and how many tasks run on each."""

from collections.abc import Mapping

from tfscale.cluster.addresses import refusal
from tfscale.cluster.dialects.hostlist import counts, expand
from tfscale.cluster.dialects.said import Said, address, place, port_of, whole

_SIZE, _RANK = "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"
_NODES, _TASKS = "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"
_EXAMPLE = "srun --kill-on-bad-exit=1 python launch/worker.py ..."


def read(environ: Mapping[str, str]) -> Said | None:
    """The task of a step, with the addresses of all.

    The step's nodes count, which may be fewer than the job's; ports are derived from job and step,
    so that two jobs on one node have others.

    Raises:
        ConfigError: the job is of a kind whose tasks can't be placed.
    """
    found = place(environ, _SIZE, _RANK)
    if found is None:
        return None
    size, rank = found
    key = f"slurm {environ.get('SLURM_JOB_ID', '')}.{environ.get('SLURM_STEP_ID', '')}"
    if size == 1:
        return Said("srun", size, rank, _SIZE, _RANK, key=key)
    if (whole(environ.get("SLURM_HET_SIZE", "")) or 1) > 1:
        raise refusal(
            f"This is a heterogeneous job of Slurm (SLURM_HET_SIZE={environ['SLURM_HET_SIZE']}), "
            "whose steps don't know each other's nodes",
            "one kind of nodes in a job",
            f"sbatch without `hetjob`, and {_EXAMPLE}",
        )
    hosts = _hosts(environ, size)
    if hosts is None:
        return Said("srun", size, rank, _SIZE, _RANK, key=key)
    first = port_of(key)
    seen: dict[str, int] = {}
    addresses = []
    for host in hosts:
        addresses.append(address(host, first + seen.get(host, 0)))
        seen[host] = seen.get(host, 0) + 1
    return Said("srun", size, rank, _SIZE, _RANK, tuple(addresses), hosts[0], key)


def refuse_without_srun(environ: Mapping[str, str]) -> None:
    """Refuses a batch script's own process where the job was to have several tasks.

    It would train alone, and wait for nobody.

    Raises:
        ConfigError: it is one.
    """
    tasks = environ.get("SLURM_NTASKS", "")
    is_batch = "SLURM_JOB_ID" in environ and "SLURM_STEP_NUM_TASKS" not in environ
    if is_batch and (whole(tasks) or 1) > 1:
        raise refusal(
            f"This process of Slurm's job {environ['SLURM_JOB_ID']} was started without srun, and "
            f"the job has {tasks} tasks (SLURM_NTASKS)",
            "srun before the command, which starts it once for each task",
            f"{_EXAMPLE}; to train on this node alone: --cluster=none",
        )


def _hosts(environ: Mapping[str, str], size: int) -> list[str] | None:
    """The node of each task; None where the variables don't say."""
    if _NODES not in environ or _TASKS not in environ:
        return None
    try:
        nodes, tasks = expand(environ[_NODES]), counts(environ[_TASKS])
    except ValueError as error:
        raise refusal(
            f"Slurm's {_NODES}={environ[_NODES]!r} with {_TASKS}={environ[_TASKS]!r} can't be read "
            f"({error})",
            "a host list and a number of tasks for each host, as srun sets them",
            _EXAMPLE,
        ) from error
    if len(nodes) != len(tasks) or sum(tasks) != size:
        raise refusal(
            f"Slurm names {len(nodes)} nodes ({_NODES}) with {sum(tasks)} tasks ({_TASKS}), and "
            f"{_SIZE}={size}",
            "as many tasks as the step has",
            _EXAMPLE,
        )
    distribution = environ.get("SLURM_DISTRIBUTION", "block")
    if max(tasks) > 1 and len(nodes) > 1 and not distribution.startswith("block"):
        raise refusal(
            f"Slurm distributes tasks as SLURM_DISTRIBUTION={distribution} says, so that nobody "
            "says which node a rank is on",
            "block by block",
            f"srun --distribution=block ... ({_EXAMPLE})",
        )
    return [node for node, count in zip(nodes, tasks, strict=True) for _ in range(count)]
