"""What a doctor says: a table and sentences for people, JSON for programs."""

import json
from collections.abc import Mapping

from tfscale.cluster.machines import split_address
from tfscale.errors import FAILURE_CODE
from tfscale.report.tables import table
from tfscale.structures import Json
from tools.doctor.examination import Examination
from tools.doctor.findings import Finding, Severity
from tools.doctor.links import advice, described
from tools.doctor.machine import size_text
from tools.doctor.node import Facts
from tools.profiles.link_curve import LinkCurve, link_curves_text

_SCHEMA_VERSION = 1


def for_people(found: Examination, written: str) -> str:
    """The table, a line for each finding, and the verdict.

    Args:
        found: what is known.
        written: where the curves are; "" for nowhere.
    """
    cluster = found.cluster
    who = ", ".join(cluster.addresses) or "this machine"
    source = f", as {cluster.source} says" if cluster.source else ""
    rows: dict[str, object] = {"workers": f"{cluster.num_workers} ({who}){source}"}
    for rank, facts in sorted(found.nodes.items()):
        rows |= _node_rows(rank, facts, found)
    if found.folder:
        rows["run directory"] = _folder(found.folder)
    if found.offsets:
        most = max(abs(ahead) for ahead, _ in found.offsets.values())
        rows["clocks"] = f"within {most:.2g} s of worker 0's"
    rows |= _link_rows(found, written)
    rows["time"] = ", ".join(f"{stage} {took:.1f} s" for stage, took in found.seconds.items())
    lines = [_sentence(finding) for finding in ordered(found.findings)]
    return "\n".join([table("doctor", rows), *lines, verdict(found)])


def for_others(found: Examination) -> str:
    """The line of a worker whose findings worker 0 shows."""
    return f"Worker {found.cluster.index} was examined; worker 0 says what was found."


def for_programs(found: Examination, out: str) -> str:
    """All of it as JSON.

    Args:
        found: what is known.
        out: where the curves are; "" for nowhere.
    """
    told: dict[str, Json] = {
        "schema_version": _SCHEMA_VERSION,
        "would_fail": found.would_fail,
        "exit_code": FAILURE_CODE if found.would_fail else 0,
        "workers": list(found.cluster.addresses),
        "findings": [_finding(finding, found) for finding in ordered(found.findings)],
        "nodes": {str(rank): facts for rank, facts in sorted(found.nodes.items())},
        "folder": {str(rank): said for rank, said in found.folder.items()},
        "clock_offsets": {str(rank): ahead for rank, (ahead, _) in found.offsets.items()},
        "links": json.loads(link_curves_text(found.measured.curves)),
        "links_file": out,
        "not_measured": _not_measured(found),
        "seconds": found.seconds,
    }
    return json.dumps(told, indent=1)


def ordered(findings: list[Finding]) -> list[Finding]:
    """What a run would fail with first, then by worker."""
    return sorted(
        dict.fromkeys(findings),
        key=lambda one: (one.severity is Severity.WARN, -1 if one.node is None else one.node),
    )


def verdict(found: Examination) -> str:
    """The last line."""
    fails = [one for one in ordered(found.findings) if one.severity is Severity.FAIL]
    warnings = len(ordered(found.findings)) - len(fails)
    also = f" {warnings} more might make it slow." if warnings else ""
    if fails:
        number = "one thing has" if len(fails) == 1 else f"{len(fails)} things have"
        return f"A run would fail: {number} to be put right first.{also}"
    if warnings:
        number = "one thing" if warnings == 1 else f"{warnings} things"
        return f"A run would work; {number} might make it slow or surprise you."
    nodes = "This node is" if found.cluster.num_workers == 1 else "All nodes are"
    return f"{nodes} healthy."


def _sentence(finding: Finding) -> str:
    where = "" if finding.node is None else f" worker {finding.node}:"
    kind = f"{finding.severity.value} ({finding.reason.value})"
    return f"{kind}{where} {finding.came}; expected {finding.expected}. {finding.remedy}"


def _finding(finding: Finding, found: Examination) -> dict[str, Json]:
    machine = found.nodes.get(-1 if finding.node is None else finding.node, {}).get("machine", {})
    return {**finding.as_json(), "host": machine.get("host")}


def _node_rows(rank: int, facts: Facts, found: Examination) -> dict[str, object]:
    machine, packages, seen = facts["machine"], facts["packages"], facts["tensorflow"]
    host = f" ({machine['host']})" if machine else ""
    rows: dict[str, object] = {}
    if packages:
        names = ("tensorflow", "keras")
        versions = [f"{name} {packages['packages'].get(name, 'missing')}" for name in names]
        rows[f"worker {rank}{host}"] = (
            f"Python {packages['python']}, {', '.join(versions)}; {_devices(facts['gpus'], seen)}"
        )
    if machine:
        numa = f", {machine['numa_nodes']} NUMA nodes" if machine["numa_nodes"] > 1 else ""
        rows[f"  machine {rank}"] = (
            f"{machine['cores']} of {machine['cores_of_machine']} cores{numa}, "
            f"{size_text(machine['memory_free_bytes'])} of {size_text(machine['memory_bytes'])} "
            f"memory free, {size_text(machine['locked_memory_bytes'])} to lock, "
            f"{size_text(machine['shared_memory_bytes'])} in /dev/shm{_infiniband(machine)}"
        )
    if facts["ways"] and found.cluster.num_workers > 1:
        rows[f"  network {rank}"] = _network(facts["ways"], found, rank)
    return rows


def _devices(driver: Mapping[str, Json], seen: Mapping[str, Json]) -> str:
    if "gpus" not in seen:
        return "TensorFlow doesn't answer"
    if not seen["gpus"]:
        return "no GPU"
    first = driver["cards"][0].split(", ") if driver and driver["cards"] else ["", "?"]
    cudnn = ".".join(map(str, seen["cudnn"] or ["none"]))
    return (
        f"{len(seen['gpus'])} x {seen['gpus'][0]['name']}, driver {first[1]}, built for CUDA "
        f"{seen['cuda']}, cuDNN {cudnn}, NCCL {seen['nccl'] or '?'}"
    )


def _infiniband(machine: Mapping[str, Json]) -> str:
    ports = [f"{one['device']} {one['state']} {one['gbits']:g}" for one in machine["infiniband"]]
    return f", InfiniBand {', '.join(ports)} Gbit/s" if ports else ""


def _network(ways: Mapping[str, Json], found: Examination, rank: int) -> str:
    cards = {way["interface"] for other, way in enumerate(ways["peers"]) if other != rank}
    told = []
    for card in sorted(cards - {""}):
        speed = ways["interfaces"][card]["mbits"]
        told.append(f"{card}{f' ({speed / 1000:g} Gbit/s)' if speed else ''}")
    _, port = split_address(found.cluster.addresses[rank])
    return f"port {port}; to the others by {', '.join(told) or 'no way'}"


def _folder(told: Mapping[int, Mapping[str, Json]]) -> str:
    parts = []
    for rank, said in told.items():
        verb = "read" if rank else "written"
        what = (
            f"{verb} at {said['bytes_per_second'] / 1e6:.0f} MB/s"
            if "bytes_per_second" in said
            else said.get("error", "not shared")
        )
        parts.append(f"worker {rank}: {what}")
    return ", ".join(parts)


def _link_rows(found: Examination, written: str) -> dict[str, object]:
    measured = found.measured
    rows: dict[str, object] = {}
    for curve in measured.pairs:
        rows[f"link {' - '.join(map(str, curve.group.ranks))}"] = described(curve)
    if measured.together:
        rows["all together"] = described(measured.together)
    if measured.curves:
        last: LinkCurve = measured.curves[-1]
        if len(last.group.ranks) > 1 and (help_text := advice(last)):
            rows["would help"] = f"where gradients are large: {help_text}"
    if why := _not_measured(found):
        rows["links"] = why
    return rows | ({"curves": written} if written else {})


def _not_measured(found: Examination) -> str:
    if found.measured.skipped or found.measured.curves or found.measured.findings:
        return found.measured.skipped
    if found.would_fail:
        return "not measured, because a run would fail"
    return "" if found.cluster.num_workers > 1 else "none: one device"
