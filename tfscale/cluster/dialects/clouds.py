"""Clouds that list the addresses of all nodes: Vertex, SageMaker, SkyPilot, dstack."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tfscale.cluster.addresses import refusal, shown
from tfscale.cluster.dialects.said import DEFAULT_PORT, Said, address, place, whole


def vertex(environ: Mapping[str, str]) -> Said | None:
    """Vertex AI's `CLUSTER_SPEC`: pool 0 leads, pool 1 works; the others don't train.

    Raises:
        ConfigError: it is no JSON of that kind, or this process is of another pool.
    """
    text = environ.get("CLUSTER_SPEC", "")
    if not text:
        return None
    content = _object(_json(text, "CLUSTER_SPEC"))
    pools, task = _object(content.get("cluster")), _object(content.get("task"))
    leaders, others = (_texts(pools.get(name)) for name in ("workerpool0", "workerpool1"))
    workers = [*leaders, *others]
    kind, index = task.get("type"), whole(task.get("index"))
    if not workers:
        return None
    if kind not in ("workerpool0", "workerpool1") or index is None:
        raise refusal(
            f"CLUSTER_SPEC makes this process {shown(kind)} {shown(task.get('index'))}, and two "
            "pools train",
            "a process of workerpool0 or workerpool1",
            "replicas in the first two worker pools only",
        )
    rank = index + (len(leaders) if kind == "workerpool1" else 0)
    return Said("Vertex AI", len(workers), rank, "CLUSTER_SPEC", "CLUSTER_SPEC", tuple(workers))


def sagemaker(environ: Mapping[str, str]) -> Said | None:
    """SageMaker: `SM_HOSTS` in its own order (algo-10 comes before algo-2), `SM_CURRENT_HOST`."""
    if "SM_HOSTS" not in environ or "SM_CURRENT_HOST" not in environ:
        return None
    hosts = _texts(_json(environ["SM_HOSTS"], "SM_HOSTS"))
    own = environ["SM_CURRENT_HOST"]
    if own not in hosts:
        raise refusal(
            f"SM_CURRENT_HOST={shown(own)} isn't among SM_HOSTS={shown(environ['SM_HOSTS'])}",
            "one of the hosts",
            "both as SageMaker sets them",
        )
    addresses = tuple(address(host, DEFAULT_PORT) for host in hosts)
    place_of = hosts.index(own)
    return Said("SageMaker", len(hosts), place_of, "SM_HOSTS", "SM_CURRENT_HOST", addresses)


def skypilot(environ: Mapping[str, str]) -> Said | None:
    """SkyPilot: an address a line in `SKYPILOT_NODE_IPS`."""
    names = "SKYPILOT_NUM_NODES", "SKYPILOT_NODE_RANK"
    return _listed(environ, "SkyPilot", names, "SKYPILOT_NODE_IPS", "SKYPILOT_TASK_ID")


def dstack(environ: Mapping[str, str]) -> Said | None:
    """dstack: an address a line in `DSTACK_NODES_IPS`."""
    names = "DSTACK_NODES_NUM", "DSTACK_NODE_RANK"
    return _listed(environ, "dstack", names, "DSTACK_NODES_IPS", "DSTACK_RUN_NAME")


def _listed(
    environ: Mapping[str, str], launcher: str, names: tuple[str, str], list_variable: str, key: str
) -> Said | None:
    found = place(environ, *names)
    if found is None:
        return None
    hosts = re.split(r"[\s,]+", environ.get(list_variable, "").strip())
    addresses: tuple[str, ...] = ()
    if len(hosts) == found[0] and all(hosts):
        addresses = tuple(address(host, DEFAULT_PORT) for host in hosts)
    leader = hosts[0] if addresses else ""
    return Said(launcher, *found, *names, addresses, leader, environ.get(key, ""))


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON has
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - whatever JSON has
    """A list of texts; none where it is anything else."""
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return value if is_list else []


def _json(text: str, variable: str) -> Any:  # noqa: ANN401 - whatever JSON has
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refusal(
            f"{variable}={shown(text)} is not JSON ({error})",
            "what the cloud sets",
            f"`unset {variable}`, and --hosts with --index",
        ) from error
