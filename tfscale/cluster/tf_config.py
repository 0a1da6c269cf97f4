"""`TF_CONFIG`, in which TensorFlow and most schedulers describe a cluster: read and written."""

import json
import re
from collections.abc import Mapping, MutableMapping
from functools import partial

from tfscale.cluster.addresses import checked_addresses, checked_rank, refusal, shown
from tfscale.cluster.cluster import Cluster

VARIABLE = "TF_CONFIG"
_CHIEF, _WORKER = "chief", "worker"
_OTHER_NAMES = {"master": _CHIEF}  # of TensorFlow 1, which some schedulers still write
_KNOWN = (_CHIEF, _WORKER, "evaluator", *_OTHER_NAMES)
TF_CONFIG_EXAMPLE = (
    """TF_CONFIG='{"cluster": {"worker": ["node0:12345", "node1:12345"]}, """
    """"task": {"type": "worker", "index": 0}}'"""
)


def read_tf_config(text: str) -> Cluster:
    """The cluster that the text of a `TF_CONFIG` describes. Raises `ConfigError`."""
    roles, task = _parse(text)
    chiefs, others = roles.get(_CHIEF, []), roles.get(_WORKER, [])
    addresses = checked_addresses([*chiefs, *others], VARIABLE, TF_CONFIG_EXAMPLE)
    if len(addresses) == 1:
        # Nobody can be taken for the only worker, so a scheduler may leave its task out.
        task = {"type": next(iter(roles)), "index": 0} | task
    role = _role(task.get("type"), roles)
    what = f"the task index of '{role}' in {VARIABLE}"
    rank = checked_rank(_number(task.get("index")), len(roles[role]), what, TF_CONFIG_EXAMPLE)
    place = rank + len(chiefs) * (role == _WORKER)
    return Cluster(addresses, place, bool(chiefs), source=VARIABLE)


def _role(named: object, roles: Mapping[str, object]) -> str:
    """The role of a task as the cluster has it."""
    if named == "evaluator":
        raise refusal(
            f"{VARIABLE} makes this process an 'evaluator', but the workers evaluate together "
            "by themselves and a process of its own has nothing to do",
            "only chief and worker processes to be started",
            TF_CONFIG_EXAMPLE,
        )
    role = _OTHER_NAMES.get(named, named) if isinstance(named, str) else ""
    if role not in roles:
        came = f"{VARIABLE} has the task type {shown(named)}"
        raise refusal(came, "a role of its cluster: " + ", ".join(roles), TF_CONFIG_EXAMPLE)
    return role


def _number(index: object) -> object:
    """A task index as TensorFlow reads it: texts and whole floats are numbers too."""
    if isinstance(index, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", index):
        return int(index)
    return int(index) if isinstance(index, float) and index.is_integer() else index


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
    roles = {role: found for role in (_CHIEF, _WORKER) if (found := _addresses(cluster, role))}
    others = [role for role in cluster if role not in _KNOWN and cluster[role]]
    if others:
        hint = "the roles worker and chief only; there are no parameter servers here"
        raise wrong(f"TF_CONFIG has the role {shown(others[0])}", hint)
    if not roles:
        came = ", ".join(f"{shown(found)} for the role '{role}'" for role, found in cluster.items())
        raise wrong(f"TF_CONFIG has {came}", "a worker: a list with at least one 'host:port'")
    if len(roles.get(_CHIEF, ())) > 1:
        raise wrong(f"TF_CONFIG names {len(roles[_CHIEF])} chiefs", "one, and the rest as worker")
    task = content.get("task") or {}
    if not isinstance(task, dict):
        raise wrong(f"TF_CONFIG has the task {shown(task)}", "an object with type and index")
    return roles, {name: value for name, value in task.items() if value is not None}


def _addresses(cluster: Mapping[str, object], role: str) -> list[object]:
    """What a cluster has for a role under any of its names, in the order of the index."""
    found: list[object] = []
    for name, given in cluster.items():
        if _OTHER_NAMES.get(name, name) != role:
            continue
        listed = given
        if isinstance(given, dict):  # TensorFlow's other way to write a list: {"0": "a:1"}
            numbers = {_number(index): address for index, address in given.items()}
            is_whole = set(numbers) == set(range(len(given)))
            listed = [numbers[index] for index in range(len(given))] if is_whole else None
        if not isinstance(listed, list):
            came = f"TF_CONFIG has {shown(given)} for the role '{name}'"
            raise refusal(came, "a list with at least one 'host:port'", TF_CONFIG_EXAMPLE)
        found += listed
    return found
