"""Kubernetes: an index for each pod, and names that follow from a pattern."""

import re
from collections.abc import Mapping

from tfscale.cluster.addresses import refusal
from tfscale.cluster.dialects.said import DEFAULT_PORT, Said, address, place, whole

INDEX, SIZE, SERVICE = "JOB_COMPLETION_INDEX", "TFSCALE_WORKERS", "TFSCALE_SERVICE"


def indexed_job(environ: Mapping[str, str]) -> Said | None:
    """An Indexed Job or a JobSet: pod `NAME-INDEX` of a headless service.

    Kubernetes sets the index alone. The manifests of `launch/kubernetes/` add how many there are,
    the service and the port; without the first, what else speaks is asked.

    Raises:
        ConfigError: the manifest says how many there are, and the rest doesn't fit.
    """
    if SIZE not in environ or INDEX not in environ:
        return None
    found = place(environ, SIZE, INDEX)
    host = environ.get("HOSTNAME", "")
    stem = re.fullmatch(r"(.+)-[0-9]+", host)
    if found is None or stem is None:
        raise refusal(
            f"Kubernetes says {INDEX}={environ[INDEX]}, {SIZE}={environ[SIZE]}, HOSTNAME={host}",
            "an index below the number of workers, and a pod that is called NAME-INDEX",
            f"completionMode: Indexed, and {SIZE} as many as completions, as in launch/kubernetes/",
        )
    service = environ.get(SERVICE, "")
    names = [f"{stem[1]}-{at}" + (f".{service}" if service else "") for at in range(found[0])]
    addresses = tuple(address(name, _port(environ)) for name in names)
    return Said("Kubernetes", *found, SIZE, INDEX, addresses, names[0], stem[1])


def kubeflow(environ: Mapping[str, str]) -> Said | None:
    """Kubeflow Trainer 2 with its torch or its jax policy, whatever runs in the image.

    The name of the first pod, `JOB-node-0-0.JOB`, gives those of the others.
    """
    found, leader, names = (
        place(environ, "PET_NNODES", "PET_NODE_RANK"),
        "",
        ("PET_NNODES", "PET_NODE_RANK"),
    )
    if found is not None:
        leader = environ.get("PET_MASTER_ADDR", "")
    else:
        names = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        found = place(environ, *names)
        leader = environ.get("JAX_COORDINATOR_ADDRESS", "").partition(":")[0]
    if found is None:
        return None
    size, rank = found
    pattern = re.fullmatch(r"(.+-)0(\.[^.].*)?", leader)
    if pattern is None:
        return Said("Kubeflow", size, rank, *names, leader=leader, key=leader)
    hosts = [f"{pattern[1]}{at}{pattern[2] or ''}" for at in range(size)]
    addresses = tuple(address(host, _port(environ)) for host in hosts)
    return Said("Kubeflow", size, rank, *names, addresses, leader, leader)


def volcano(environ: Mapping[str, str]) -> Said | None:
    """Volcano without its tensorflow plug-in: a list of hosts for each task, one of them ours."""
    index = environ.get("VC_TASK_INDEX", environ.get("VK_TASK_INDEX", ""))
    lists = {
        name: hosts.split(",")
        for name, hosts in environ.items()
        if re.fullmatch(r"VC_[A-Z0-9_]+_HOSTS", name) and hosts
    }
    rank = whole(index)
    if rank is None or len(lists) != 1:
        return None  # of several tasks nobody says which is ours
    ((variable, hosts),) = lists.items()
    if rank >= len(hosts):
        return None
    addresses = tuple(address(host.strip(), _port(environ)) for host in hosts)
    return Said("Volcano", len(hosts), rank, variable, "VC_TASK_INDEX", addresses, hosts[0])


def _port(environ: Mapping[str, str]) -> int:
    port = whole(environ.get("TFSCALE_PORT", "")) or 0
    return port if 0 < port < 65536 else DEFAULT_PORT
