"""`TF_CONFIG`, in which TensorFlow and most schedulers describe a cluster: read and written."""

import json
from collections.abc import MutableMapping
from functools import partial

from tfscale.cluster.addresses import checked_addresses, checked_rank, refusal, shown
from tfscale.cluster.cluster import Cluster

VARIABLE = "TF_CONFIG"
TF_CONFIG_EXAMPLE = (
    """TF_CONFIG='{"cluster": {"worker": ["node0:12345", "node1:12345"]}, """
    """"task": {"type": "worker", "index": 0}}'"""
)


def read_tf_config(text: str) -> Cluster:
    """The cluster that the text of a `TF_CONFIG` describes. Raises `ConfigError`."""
    roles, task = _parse(text)
    task_type = task.get("type")
    if task_type == "evaluator":
        raise refusal(
            "TF_CONFIG makes this process an 'evaluator', but the workers evaluate together "
            "by themselves and a process of its own has nothing to do",
            "only chief and worker processes to be started",
            TF_CONFIG_EXAMPLE,
        )
    if not isinstance(task_type, str) or task_type not in roles:
        came = f"TF_CONFIG has the task type {shown(task_type)}"
        raise refusal(came, "a role of its cluster: " + ", ".join(roles), TF_CONFIG_EXAMPLE)
    what = f"the task index of '{task_type}' in TF_CONFIG"
    rank = checked_rank(task.get("index"), len(roles[task_type]), what, TF_CONFIG_EXAMPLE)
    chiefs, others = roles.get("chief", []), roles.get("worker", [])
    addresses = checked_addresses([*chiefs, *others], "TF_CONFIG", TF_CONFIG_EXAMPLE)
    return Cluster(addresses, rank + len(chiefs) * (task_type == "worker"), bool(chiefs))


def tf_config_of(cluster: Cluster) -> dict[str, object]:
    """What TensorFlow has to find in `TF_CONFIG`; empty for a single worker."""
    if cluster.num_workers == 1:
        return {}
    chiefs = int(cluster.has_chief)  # TensorFlow counts the ranks of each role from 0
    roles = {"chief": list(cluster.addresses[:chiefs])} if chiefs else {}
    roles["worker"] = list(cluster.addresses[chiefs:])
    task = {"type": "worker", "index": cluster.index - chiefs}
    if cluster.index < chiefs:
        task = {"type": "chief", "index": 0}
    return {"cluster": roles, "task": task}


def write_tf_config(cluster: Cluster, environ: MutableMapping[str, str]) -> None:
    """Makes `TF_CONFIG` say what `cluster` says; nothing else in tfscale writes it.

    Each worker writes its own task. With one worker the variable is removed: TensorFlow would
    otherwise start a server that nobody talks to.
    """
    environ.pop(VARIABLE, None)
    if cluster.num_workers > 1:
        environ[VARIABLE] = json.dumps(tf_config_of(cluster))


def _parse(text: str) -> tuple[dict[str, list[object]], dict[str, object]]:
    """The roles that train, with their unchecked addresses, and the task of a `TF_CONFIG`."""
    wrong = partial(refusal, example=TF_CONFIG_EXAMPLE)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = "a JSON object (or no TF_CONFIG at all: `unset TF_CONFIG`)"
        raise wrong(f"TF_CONFIG={shown(text)} is not JSON ({error})", hint) from error
    cluster = content.get("cluster") if isinstance(content, dict) else None
    if not isinstance(cluster, dict) or not cluster:
        hint = "a JSON object with a 'cluster' of workers (or no TF_CONFIG: `unset TF_CONFIG`)"
        raise wrong(f"TF_CONFIG={shown(text)} has no cluster", hint)
    for role, addresses in cluster.items():
        if role not in ("chief", "worker", "evaluator"):
            hint = "the roles worker and chief only; there are no parameter servers here"
            raise wrong(f"TF_CONFIG has the role {shown(role)}", hint)
        if role != "evaluator" and not (isinstance(addresses, list) and addresses):
            came = f"TF_CONFIG has {shown(addresses)} for the role '{role}'"
            raise wrong(came, "a list with at least one 'host:port'")
    roles = {role: cluster[role] for role in ("chief", "worker") if role in cluster}
    if not roles:
        raise wrong("TF_CONFIG has only the role 'evaluator'", "at least one worker")
    if len(roles.get("chief", ())) > 1:
        raise wrong(f"TF_CONFIG names {len(roles['chief'])} chiefs", "one, and the rest as worker")
    task = content.get("task")
    if not isinstance(task, dict):
        raise wrong(f"TF_CONFIG has the task {shown(task)}", "an object with type and index")
    return roles, task
