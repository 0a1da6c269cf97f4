"""Who the workers are, from everything that may say so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfscale.cluster import introductions
from tfscale.cluster.addresses import HOSTS_EXAMPLE, checked_addresses, refusal, split_hosts
from tfscale.cluster.cluster import Cluster
from tfscale.cluster.dialects import clouds, kubernetes, leaders, mpi, slurm
from tfscale.cluster.dialects.said import Said
from tfscale.cluster.machines import (
    canonical_address,
    canonical_host,
    own_hosts,
    split_address,
)
from tfscale.cluster.node_addresses import reachable
from tfscale.cluster.tf_config import VARIABLE, read_tf_config
from tfscale.errors import ConfigError

# By the names of --cluster. Who is nearer to a task comes first, because its tasks are what counts:
# mpirun within Slurm starts helpers by a step of their own, torchrun several tasks on each node.
DIALECTS: dict[str, Callable[[Mapping[str, str]], Said | None]] = {
    "vertex": clouds.vertex,
    "torchrun": leaders.torchrun,
    "mpi": mpi.read,
    "slurm": slurm.read,
    "kubernetes": kubernetes.indexed_job,
    "kubeflow": kubernetes.kubeflow,
    "volcano": kubernetes.volcano,
    "sagemaker": clouds.sagemaker,
    "skypilot": clouds.skypilot,
    "dstack": clouds.dstack,
    "aws_batch": leaders.aws_batch,
    "azure_ml": leaders.azure_ml,
}
TF_CONFIG, NONE, AUTO = "tf_config", "none", "auto"
NAMES = (AUTO, NONE, TF_CONFIG, *DIALECTS)


@dataclass(frozen=True)
class Asked:
    """How the cluster is to be found, beside `--hosts` and `--index`.

    Args:
        cluster: one of `NAMES`: which source is to say it.
        leader: `host` or `host:port` at which worker 0 is met, where no launcher says it.
        folder: that all workers see; worker 0 says there where it is, if nobody else does.
        timeout_seconds: for the workers to tell each other their addresses.
        say: gets a line now and then while they wait.
        waits: whether other workers may be waited for; a dry run doesn't.
        processes: workers of each node, where what is found are nodes.
        process: which of its node's this one is, from 0.
    """

    cluster: str = AUTO
    leader: str = ""
    folder: str = ""
    timeout_seconds: float = 120.0
    say: Callable[[str], None] = lambda text: None
    waits: bool = True
    processes: int = 1
    process: int = 0


def resolve(
    hosts: str | Sequence[str] | None,
    index: int | None,
    environ: Mapping[str, str],
    asked: Asked | None = None,
) -> Cluster:
    """Decides who the workers are from everything that may say so.

    `TF_CONFIG` comes first, because a scheduler that sets it knows best; flags beside it may
    only repeat it. Without either, the launcher that has started this process says who it is: those
    of which it knows no addresses tell them to each other. Without all of them the job runs on this
    machine alone. A value that is there but empty is an error: it is usually a variable that a
    script forgot to fill in, and every worker would train for itself without a word.

    Args:
        hosts: value of `--hosts`, None when not given.
        index: value of `--index`, None when not given.
        environ: the environment of this process.
        asked: how else; None for what is usual.

    Raises:
        ConfigError: one of them is malformed or incomplete, or they contradict each other.
        SharedFailure: not all workers have come to tell their addresses.
    """
    asked = asked or Asked()
    if not 0 <= asked.process < asked.processes:
        raise refusal(
            f"--process_of_node={asked.process} came with --processes_per_node={asked.processes}",
            f"0 to {asked.processes - 1}",
            "--processes_per_node alone, which starts all of a node",
        )
    said = _spoken(environ, asked)
    nodes = _told(hosts, index, environ, said, asked)
    if nodes is None and said is not None:
        nodes = _listed(said, asked)
        if nodes is None:
            return _introduced(said, asked)
    if nodes is None:
        nodes = _alone(environ, asked)
    return nodes.of_processes(asked.processes, asked.process)


def _told(
    hosts: str | Sequence[str] | None,
    index: int | None,
    environ: Mapping[str, str],
    said: Said | None,
    asked: Asked,
) -> Cluster | None:
    """The nodes that `TF_CONFIG` or the flags name; None where neither is there."""
    if VARIABLE in environ and asked.cluster in (AUTO, TF_CONFIG):
        cluster = read_tf_config(environ[VARIABLE])
        _require_flags_alike(cluster, hosts, index)
        _require_alike(VARIABLE, cluster, said, asked)
        return cluster
    if hosts is not None:
        cluster = Cluster.from_hosts(hosts, index)
        _require_alike("--hosts and --index", cluster, said, asked)
        return cluster
    if index is not None:
        came = f"--index={index} came without --hosts"
        raise refusal(came, "both, or neither to use this machine alone", HOSTS_EXAMPLE)
    return None


def _spoken(environ: Mapping[str, str], asked: Asked) -> Said | None:
    """What the launcher says that is asked for, or that is nearest to this process."""
    if asked.cluster in DIALECTS:
        return DIALECTS[asked.cluster](environ)
    if asked.cluster in (TF_CONFIG, NONE):
        return None  # whatever launchers say, and however
    spoken: dict[str, Said] = {}
    for name, read in DIALECTS.items():
        try:
            found = read(environ)
        except ConfigError:
            if not spoken:
                raise  # what is further away may be as it likes
            continue
        if found is not None:
            spoken[name] = found
    if not spoken:
        return None
    nearest, first = next(iter(spoken.items()))
    for name, other in spoken.items():
        # Who counts other tasks, such as one for each node, speaks of something else; so does Slurm
        # of the helpers by which mpirun has started its own.
        counts_the_same = other.size == first.size > 1 and (nearest, name) != ("mpi", "slurm")
        if counts_the_same and other.rank != first.rank:
            raise refusal(
                f"{first.launcher} says that this is task {first.rank} of {first.size} "
                f"({first.rank_variable}), and {other.launcher} says {other.rank} "
                f"({other.rank_variable})",
                "the same from both",
                f"--cluster={nearest} to take the first",
            )
    return first


def _alone(environ: Mapping[str, str], asked: Asked) -> Cluster:
    """This machine, where nobody says of whom it is a part.

    Raises:
        ConfigError: somebody was to say it, or a script has forgotten `srun`.
    """
    if asked.cluster not in (AUTO, NONE):
        raise refusal(
            f"--cluster={asked.cluster} is asked for, and the environment has nothing of it",
            "a process that it has started",
            "--cluster=auto, or --hosts and --index",
        )
    if asked.cluster == AUTO:
        slurm.refuse_without_srun(environ)
    return Cluster()


def _listed(said: Said, asked: Asked) -> Cluster | None:
    """The nodes whose addresses a launcher says; None where they have to tell each other."""
    if said.size == 1:
        return Cluster()
    if not said.addresses:
        return None
    addresses = said.addresses
    if said.launcher == "srun" and asked.waits:
        addresses = reachable(addresses)
    told_by = f"{said.launcher} ({said.size_variable})"
    addresses = checked_addresses(addresses, told_by, HOSTS_EXAMPLE)
    if asked.waits:
        _require_own(said, addresses, asked.say)
    return Cluster(addresses, said.rank, source=_source(said))


def _introduced(said: Said, asked: Asked) -> Cluster:
    """The workers of tasks that tell each other where they are."""
    tasks = said.of_processes(asked.processes, asked.process)
    leader = asked.leader or said.leader
    if not asked.waits:
        unknown = tuple(f"worker-{rank}:1" for rank in range(tasks.size))
        return Cluster(unknown, tasks.rank, source=f"{_source(said)}, addresses told at the start")
    if not leader and not asked.folder:
        raise refusal(
            f"This is task {said.rank} of {said.size} of {said.launcher} "
            f"({said.size_variable}={said.size}, {said.rank_variable}={said.rank}), and nothing "
            "tells them where the others are",
            "a run directory that all of them see, or --leader",
            "--leader=node0, the host of worker 0",
        )
    folder = None if leader else Path(asked.folder)
    way = introductions.Way(leader, folder, asked.timeout_seconds, asked.say)
    return Cluster(introductions.introduce(tasks, way), tasks.rank, source=_source(said))


def _source(said: Said) -> str:
    return f"{said.launcher} ({said.rank_variable})"


def _require_own(said: Said, addresses: Sequence[str], say: Callable[[str], None]) -> None:
    """Refuses a rank whose address this machine hasn't, but another rank's.

    Behind a translation of addresses nobody has his own, which is only told.
    """
    hosts = [canonical_host(split_address(address)[0]) for address in addresses]
    if hosts[said.rank] in own_hosts():
        return
    here = [rank for rank, host in enumerate(hosts) if host in own_hosts()]
    if here:
        raise refusal(
            f"{said.launcher} says that this is task {said.rank} ({said.rank_variable}) at "
            f"{addresses[said.rank]}, and this machine has the address of task {here[0]}, "
            f"{addresses[here[0]]}",
            "addresses in the order of the ranks",
            f"--hosts={','.join(addresses)} --index={here[0]}",
        )
    if hosts[said.rank].replace(".", "").isdigit() or ":" in hosts[said.rank]:
        say(
            f"{said.launcher} says that this worker is at {addresses[said.rank]}, which is none "
            "of this machine's addresses: the others may not reach it there."
        )


def _require_flags_alike(
    cluster: Cluster, hosts: str | Sequence[str] | None, index: int | None
) -> None:
    """Refuses flags that say something else than `TF_CONFIG`."""
    addresses = cluster.addresses if hosts is None else split_hosts(hosts)
    rank = cluster.index if index is None else index
    if rank != cluster.index or _spelled_alike(addresses) != _spelled_alike(cluster.addresses):
        raise refusal(
            f"TF_CONFIG says --hosts={','.join(cluster.addresses)} --index={cluster.index} but "
            f"the flags say --hosts={','.join(addresses)} --index={rank}",
            "the same from both, or one of them only",
            "`unset TF_CONFIG` to use the flags, or leave out --hosts and --index",
        )


def _require_alike(source: str, cluster: Cluster, said: Said | None, asked: Asked) -> None:
    """Refuses one rank for several tasks: a script that gives all of them the same index."""
    if said is None or asked.cluster != AUTO:
        return
    if said.size == cluster.num_workers > 1 and said.rank != cluster.index:
        raise refusal(
            f"{source} says that this is worker {cluster.index} of {cluster.num_workers}, and "
            f"{said.launcher} that it is task {said.rank} ({said.rank_variable})",
            "the same from both",
            f"--index=${said.rank_variable} in what each task runs (bash -c '...'), or "
            f"--cluster={TF_CONFIG if source == VARIABLE else NONE} to take the first",
        )


def _spelled_alike(addresses: Sequence[str]) -> list[tuple[str, int]]:
    return [canonical_address(address) for address in addresses]
