"""Nodes beside each other: who has what, where all should have the same."""

import json
from collections.abc import Callable, Iterator, Mapping

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.startup.differences import who_has_what
from tfscale.startup.gpu_shares import share_of_gpus
from tfscale.structures import Json
from tools.doctor.findings import Finding, Reason, fail, refused, warn

# What makes libraries compute or talk otherwise; a launcher may hand it on to some nodes only.
_PREFIXES = ("NCCL_", "CUDA_", "TF_", "XLA_", "UCX_")
_NAMES = ("LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PYTHONPATH")
# Of each worker alone.
_OWN = ("CUDA_VISIBLE_DEVICES", "TF_CONFIG")
_CLOCK_SECONDS = 5.0
_COMPARED_BY_RUNS = ("tensorflow", "keras", "numpy")  # which are no warning but the end


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that workers should have the same."""
    return {
        name: value
        for name, value in environ.items()
        if (name.startswith(_PREFIXES) or name in _NAMES) and name not in _OWN
    }


def judge(nodes: Mapping[int, Mapping[str, Json]], *, may_share: bool = False) -> list[Finding]:
    """What differs, and what nodes have in common that each should have for itself.

    Args:
        nodes: the facts of each, by the rank of its worker.
        may_share: whether several workers may compute on one GPU.
    """
    findings = []
    for name, values in _differing(nodes, lambda node: node["tensorflow"].get("compared")):
        findings.append(
            fail(
                Reason.NODES_DIFFER,
                f"{name}: {who_has_what(values)}",
                "the same on all, or no run starts",
                "Install the same requirements.txt on every node, and give all the same "
                "environment and ~/.keras/keras.json.",
            )
        )
    for name, values in _differing(nodes, _devices):
        findings.append(
            fail(
                Reason.NODES_DIFFER,
                f"{name}: {who_has_what(values)}",
                "the same on all",
                "Use nodes of one kind, or set CUDA_VISIBLE_DEVICES to as many on each.",
            )
        )
    if not may_share:
        findings += _of_shared_gpus(nodes)
    alike = [*_differing(nodes, _should_be_alike), *_differing(nodes, _should_be_seen_alike)]
    for name, values in alike:
        findings.append(
            warn(
                Reason.NODES_DIFFER,
                f"{name}: {who_has_what(values)}",
                "the same on all",
                "Install the same packages on every node, of one kind.",
            )
        )
    return findings + _of_variables(nodes)


def _of_shared_gpus(nodes: Mapping[int, Mapping[str, Json]]) -> list[Finding]:
    """Workers that can't share the GPUs that they see, by the rule of a run."""
    seen = [
        nodes[rank]["tensorflow"].get("uuids", []) if rank in nodes else []
        for rank in range(max(nodes) + 1)
    ]
    try:
        share_of_gpus(seen, 0, may_share=False)
    except ConfigError as error:
        return [refused(Reason.GPU_SHARED, error)]
    return []


def reachability(
    cluster: Cluster,
    missing: Mapping[int, str],
    problems: Mapping[int, Mapping[int, str]],
    came_from: Mapping[int, str],
) -> list[Finding]:
    """Who didn't come, and who can't be reached by whom.

    Args:
        cluster: as worker 0 sees it.
        missing: why those that didn't come can't be reached by worker 0, by rank.
        problems: of each worker that came, by rank, why it can't reach others.
        came_from: the address from which each has come.
    """
    findings = []
    for rank, why in missing.items():
        findings.append(
            fail(
                Reason.MISSING,
                f"{cluster.named(rank)} has not come ({why})",
                "this program on every node at the same time, at the addresses of --hosts",
                "Start it there, look at its output, and at the firewall between: "
                f"nc -vz {cluster.addresses[rank].replace(':', ' ')}.",
            ).at(rank)
        )
    others = {rank: {} for rank in range(cluster.num_workers)}  # type: dict[int, dict[int, str]]
    for rank, theirs in problems.items():
        for other, why in theirs.items():
            others[other][rank] = why
    for rank, by_whom in others.items():
        if not by_whom or rank in missing:
            continue
        where = came_from.get(rank, "")
        came = f"; it came from {where}" if where else ""
        findings.append(
            fail(
                Reason.UNREACHABLE,
                f"{cluster.named(rank)} can't be reached ({who_has_what(by_whom)}{came})",
                "each worker at its address in --hosts, from all others",
                "Give the address by which the others reach it, and let the firewall pass its port "
                "in both directions.",
            ).at(rank)
        )
    return findings


def clocks(offsets: Mapping[int, tuple[float, float]]) -> list[Finding]:
    """Whose clock is another one.

    Args:
        offsets: of each worker, by how many seconds it is ahead of worker 0, and the uncertainty.
    """
    return [
        warn(
            Reason.CLOCK,
            f"its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} worker 0's",
            f"less than {_CLOCK_SECONDS:g} s",
            "Start chronyd or another NTP client: logs, curves and locks on shared folders go by "
            "the clock.",
        ).at(rank)
        for rank, (ahead, uncertain) in offsets.items()
        if abs(ahead) > _CLOCK_SECONDS + uncertain
    ]


def _of_variables(nodes: Mapping[int, Mapping[str, Json]]) -> list[Finding]:
    return [
        warn(
            Reason.NODES_DIFFER,
            f"{name}: {who_has_what(values)}",
            "the same on all",
            f"Set it for all: mpirun -x {name} (MPICH: -genvlist {name}), or in the script that "
            "every node runs.",
        )
        for name, values in _differing(nodes, lambda node: node["variables"])
    ]


def _devices(node: Mapping[str, Json]) -> dict[str, Json] | None:
    gpus = node["tensorflow"].get("gpus")
    return None if gpus is None else {"GPUs that TensorFlow sees": len(gpus)}


def _should_be_seen_alike(node: Mapping[str, Json]) -> dict[str, Json] | None:
    seen = node["tensorflow"]
    if "kinds" not in seen:
        return None
    return {
        "kinds of devices": ", ".join(seen["kinds"]),
        "GPUs": ", ".join(gpu["name"] for gpu in seen["gpus"]),
    }


def _should_be_alike(node: Mapping[str, Json]) -> dict[str, Json] | None:
    if not (node["packages"] and node["machine"]):
        return None
    versions = {
        name: version
        for name, version in node["packages"]["packages"].items()
        if name not in _COMPARED_BY_RUNS
    }
    ports = sorted([port["state"], port["gbits"]] for port in node["machine"]["infiniband"])
    return {
        "Python": node["packages"]["python"],
        **{f"version of {name}": version for name, version in versions.items()},
        "plug-ins of TensorFlow": ", ".join(node["packages"]["plugins"]) or "none",
        "cores": node["machine"]["cores"],
        "ports of InfiniBand": json.dumps(ports),
    }


def _differing(
    nodes: Mapping[int, Mapping[str, Json]],
    facts_of: Callable[[Mapping[str, Json]], Mapping[str, Json] | None],
) -> Iterator[tuple[str, dict[int, str]]]:
    """Facts in which nodes differ, with what each has; of some nodes nothing may be known."""
    told = {rank: facts for rank, node in nodes.items() if (facts := facts_of(node)) is not None}
    for name in dict.fromkeys(name for facts in told.values() for name in facts):
        values = {rank: str(facts.get(name, "none")) for rank, facts in told.items()}
        if len(set(values.values())) > 1:
            yield name, values
