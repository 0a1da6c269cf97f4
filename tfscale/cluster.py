"""Who the workers are, and which of them this process is.

A `Cluster` is decided once, before TensorFlow is imported, from `TF_CONFIG` or from
`--hosts` and `--index`. Everything else is handed the result and never looks at the
environment. Ranks are global: the chief is 0 and the workers follow in the order of the list.
"""

import contextlib
import ipaddress
import json
import re
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial

from tfscale.config import ConfigError

VARIABLE = "TF_CONFIG"
_HOSTS_EXAMPLE = "--hosts=node0:12345,node1:12345 --index=0"
_TF_CONFIG_EXAMPLE = (
    """TF_CONFIG='{"cluster": {"worker": ["node0:12345", "node1:12345"]}, """
    """"task": {"type": "worker", "index": 0}}'"""
)


@dataclass(frozen=True)
class Cluster:
    """The workers of a job as one of them sees them.

    Args:
        addresses: `host:port` of every worker in the order of the global rank, the same on
            every worker; empty for a single machine that needs no address.
        index: global rank of this worker, 0 to `num_workers - 1`; differs on every worker.
        has_chief: whether rank 0 is called `chief` in `TF_CONFIG`; training is the same.
    """

    addresses: tuple[str, ...] = ()
    index: int = 0
    has_chief: bool = False

    def __post_init__(self) -> None:
        """Refuses an index that is no rank of this cluster."""
        _check_index(self.index, self.num_workers, "index", "Cluster(addresses, index=0)")

    @classmethod
    def from_hosts(cls, hosts: str | Sequence[str], index: int | None) -> "Cluster":
        """The cluster of `--hosts` (a list, or one text with commas) and `--index`.

        `index` may be None where there is one host only. Raises `ConfigError`.
        """
        addresses = _split_hosts(hosts)
        example = f"--hosts={','.join(addresses)} --index=0"
        if index is None and len(addresses) > 1:
            raise _error(
                f"--hosts names {len(addresses)} workers but --index is missing",
                f"which of them this process is, 0 to {len(addresses) - 1}",
                f"{example} on the first of them, --index=1 on the second",
            )
        rank = 0 if index is None else index
        return cls(addresses, _check_index(rank, len(addresses), "--index", example))

    @classmethod
    def from_tf_config(cls, text: str) -> "Cluster":
        """The cluster that the text of a `TF_CONFIG` describes. Raises `ConfigError`."""
        roles, task = _parse(text)
        task_type = task.get("type")
        if task_type == "evaluator":
            raise _error(
                "TF_CONFIG makes this process an 'evaluator', but the workers evaluate together "
                "by themselves and a process of its own has nothing to do",
                "only chief and worker processes to be started",
                _TF_CONFIG_EXAMPLE,
            )
        if not isinstance(task_type, str) or task_type not in roles:
            came = f"TF_CONFIG has the task type {_shown(task_type)}"
            raise _error(came, "a role of its cluster: " + ", ".join(roles), _TF_CONFIG_EXAMPLE)
        what = f"the task index of '{task_type}' in TF_CONFIG"
        rank = _check_index(task.get("index"), len(roles[task_type]), what, _TF_CONFIG_EXAMPLE)
        chiefs, others = roles.get("chief", []), roles.get("worker", [])
        addresses = _check_addresses([*chiefs, *others], "TF_CONFIG", _TF_CONFIG_EXAMPLE)
        return cls(addresses, rank + len(chiefs) * (task_type == "worker"), bool(chiefs))

    @property
    def num_workers(self) -> int:
        """Number of training processes, at least 1."""
        return max(1, len(self.addresses))

    @property
    def workers_here(self) -> int:
        """Number of workers at this worker's address, which share its processors; at least 1."""
        hosts = self._hosts
        return hosts.count(hosts[self.index]) if hosts else 1

    @property
    def index_here(self) -> int:
        """Which of the workers at its address this one is, from 0."""
        hosts = self._hosts
        return hosts[: self.index].count(hosts[self.index]) if hosts else 0

    @property
    def _hosts(self) -> list[str]:
        return [address.rpartition(":")[0] for address in self.addresses]

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the files of the run."""
        return self.index == 0

    def tf_config(self) -> dict[str, object]:
        """What TensorFlow has to find in `TF_CONFIG`; empty for a single worker."""
        if self.num_workers == 1:
            return {}
        chiefs = int(self.has_chief)  # TensorFlow counts the ranks of each role from 0
        roles = {"chief": list(self.addresses[:chiefs])} if chiefs else {}
        roles["worker"] = list(self.addresses[chiefs:])
        task = {"type": "worker", "index": self.index - chiefs}
        if self.index < chiefs:
            task = {"type": "chief", "index": 0}
        return {"cluster": roles, "task": task}


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
            raise _error(came, "both, or neither to use this machine alone", _HOSTS_EXAMPLE)
        return Cluster()
    cluster = Cluster.from_tf_config(environ[VARIABLE])
    addresses = cluster.addresses if hosts is None else _split_hosts(hosts)
    rank = cluster.index if index is None else index
    if (addresses, rank) != (cluster.addresses, cluster.index):
        raise _error(
            f"TF_CONFIG says --hosts={','.join(cluster.addresses)} --index={cluster.index} but "
            f"the flags say --hosts={','.join(addresses)} --index={rank}",
            "the same from both, or one of them only",
            "`unset TF_CONFIG` to use the flags, or leave out --hosts and --index",
        )
    return cluster


def free_addresses(count: int) -> list[str]:
    """Gives `count` different loopback addresses `127.0.0.1:PORT` on which nothing listens."""
    with contextlib.ExitStack() as stack:
        # All stay open until all are chosen: the system never gives one port twice that way.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def write_tf_config(cluster: Cluster, environ: MutableMapping[str, str]) -> None:
    """Makes `TF_CONFIG` say what `cluster` says; nothing else in tfscale writes it.

    Each worker writes its own task. With one worker the variable is removed: TensorFlow would
    otherwise start a server that nobody talks to.
    """
    environ.pop(VARIABLE, None)
    if cluster.num_workers > 1:
        environ[VARIABLE] = json.dumps(cluster.tf_config())


def _error(came: str, expected: str, example: str) -> ConfigError:
    return ConfigError(f"{came}; expected {expected}. Type, for example: {example}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."


def _parse(text: str) -> tuple[dict[str, list[object]], dict[str, object]]:
    """The roles that train, with their unchecked addresses, and the task of a `TF_CONFIG`."""
    wrong = partial(_error, example=_TF_CONFIG_EXAMPLE)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = "a JSON object (or no TF_CONFIG at all: `unset TF_CONFIG`)"
        raise wrong(f"TF_CONFIG={_shown(text)} is not JSON ({error})", hint) from error
    cluster = content.get("cluster") if isinstance(content, dict) else None
    if not isinstance(cluster, dict) or not cluster:
        hint = "a JSON object with a 'cluster' of workers (or no TF_CONFIG: `unset TF_CONFIG`)"
        raise wrong(f"TF_CONFIG={_shown(text)} has no cluster", hint)
    for role, addresses in cluster.items():
        if role not in ("chief", "worker", "evaluator"):
            hint = "the roles worker and chief only; there are no parameter servers here"
            raise wrong(f"TF_CONFIG has the role {_shown(role)}", hint)
        if role != "evaluator" and not (isinstance(addresses, list) and addresses):
            came = f"TF_CONFIG has {_shown(addresses)} for the role '{role}'"
            raise wrong(came, "a list with at least one 'host:port'")
    roles = {role: cluster[role] for role in ("chief", "worker") if role in cluster}
    if not roles:
        raise wrong("TF_CONFIG has only the role 'evaluator'", "at least one worker")
    if len(roles.get("chief", ())) > 1:
        raise wrong(f"TF_CONFIG names {len(roles['chief'])} chiefs", "one, and the rest as worker")
    task = content.get("task")
    if not isinstance(task, dict):
        raise wrong(f"TF_CONFIG has the task {_shown(task)}", "an object with type and index")
    return roles, task


def _split_hosts(hosts: str | Sequence[str]) -> tuple[str, ...]:
    parts = hosts.split(",") if isinstance(hosts, str) else hosts
    stripped = [part.strip() if isinstance(part, str) else part for part in parts]
    return _check_addresses([] if stripped == [""] else stripped, "--hosts", _HOSTS_EXAMPLE)


def _check_index(index: object, size: int, what: str, example: str) -> int:
    # bool is an int to Python, but true is no rank.
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < size:
        expected = f"a whole number from 0 to {size - 1}" if size > 1 else "0, the only worker's"
        raise _error(f"{what} is {_shown(index)}", expected, example)
    return index


def _check_addresses(addresses: Sequence[object], source: str, example: str) -> tuple[str, ...]:
    """Every address as it came, once each is `host:port` and none is there twice."""
    if not addresses:
        raise _error(f"{source} names no worker", "at least one host:port", example)
    seen: set[tuple[str, int]] = set()
    checked: list[str] = []
    for address in addresses:
        problem = _address_problem(address) if isinstance(address, str) else "is no text"
        if problem or not isinstance(address, str):
            came = f"{source} has the address {_shown(address)}, which {problem}"
            raise _error(came, "host:port, with IPv6 as [::1]:12345", example)
        host, _, port = address.rpartition(":")
        if (host.lower(), int(port)) in seen:
            came = f"{source} names {address} twice"
            raise _error(came, "a port of its own for every worker on a host", example)
        seen.add((host.lower(), int(port)))
        checked.append(address)
    return tuple(checked)


def _address_problem(address: str) -> str:
    """What is wrong with a `host:port`, as the end of "which ..."; empty for a good one."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return "has no port"
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return f"has {host!r} for an IPv6 address"
    elif ":" in host:
        return f"has a colon in its host {host!r}"
    elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", host):
        return f"has the host {host!r}, which is no name and no IP address"
    # [0-9], because int() would also take signs, spaces and the digits of other scripts.
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= 65535):
        return f"has the port {port!r}, which is not a number from 1 to 65535"
    return ""
