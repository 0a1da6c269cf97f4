"""What measured links mean: which node or link is slow, against whom, and what would help."""

import statistics
from collections.abc import Mapping, Sequence

from tfscale.cluster.cluster import Cluster
from tools.doctor.findings import Finding, Reason, warn
from tools.profiles.link_curve import LinkCurve

_SHOWN_BYTES = 25_000_000  # gradients of a small ResNet: what a reader can imagine
_LEAST_SHARE = 0.4  # of what others, or the card, give
_LEAST_BYTES_PER_SECOND = 20e6  # 160 Mbit/s: a link of 1 Gbit/s gives 117 MB/s
# One ring over gRPC is busy with its own copying before a card of 10 Gbit/s is.
_MOST_OF_RING = 500e6


def pair_rounds(workers: int) -> list[list[tuple[int, int]]]:
    """Who sums with whom: two rounds of pairs, so that a slow node shows in all of its own.

    (0, 1), (2, 3), ..., then (1, 2), (3, 4), ..., and (0, last) if that leaves both of them out.
    Three workers need a third round, or the one in the middle would be in every pair; two are one.

    Args:
        workers: of the cluster, at least 2.
    """
    first = [(left, left + 1) for left in range(0, workers - 1, 2)]
    second = [(left, left + 1) for left in range(1, workers - 1, 2)]
    if workers > 2 and workers % 2 == 0:
        second.append((0, workers - 1))
    rounds = [first, second, [(0, 2)] if workers == 3 else []]
    return [pairs for pairs in rounds if pairs]


def judge(pairs: Sequence[LinkCurve], cluster: Cluster) -> list[Finding]:
    """What is wrong with the links.

    Args:
        pairs: what each pair of workers has measured.
        cluster: whose they are.
    """
    speeds = {curve.group.ranks: curve.bus_bytes_per_second for curve in pairs}
    slow = _slow_pairs(pairs)
    node = _slow_node(slow, speeds)
    if node is not None:
        others = [speed for ranks, speed in speeds.items() if node not in ranks]
        own = max(speed for ranks, speed in speeds.items() if node in ranks)
        usual = f"{rate(statistics.median(others))} between others"
        return [
            warn(
                Reason.SLOW_NODE,
                f"all-reduces with {cluster.named(node)} give {rate(own)}, and {usual}",
                "as much with all",
                "Look at its cable, its switch port (ethtool: Speed, Duplex), its interface (MTU) "
                "and what else runs there, or leave the node out.",
            ).at(node)
        ]
    return [_slow_link(curve, cluster) for curve in pairs if curve.group.ranks in slow]


def rate(bytes_per_second: float) -> str:
    """A bandwidth as people say it of links."""
    megabits = 8e-6 * bytes_per_second
    return f"{megabits / 1000:.3g} Gbit/s" if megabits >= 1000 else f"{megabits:.3g} Mbit/s"


def described(curve: LinkCurve) -> str:
    """A curve in words: latency, bandwidth, how much of what the card promises, what that means."""
    promised = curve.group.promised_bytes_per_second
    share = 100 * curve.bus_bytes_per_second / max(promised, 1.0)
    beside = f", {share:.0f} % of {rate(promised)}" if promised else ""
    return (
        f"{1000 * curve.latency_seconds:.2g} ms at least, {rate(curve.bus_bytes_per_second)} bus "
        f"bandwidth{beside}; 25 MB of gradients take {curve.seconds_of(_SHOWN_BYTES):.2g} s"
    )


def advice(curve: LinkCurve) -> str:
    """The setting that would help on such links, as of BUILD.md; "" where none has to."""
    if curve.group.collectives == "nccl" and curve.bus_bytes_per_second > 3e9:
        return ""
    if curve.group.wire_dtype == "float32" and curve.bus_bytes_per_second > 125e6:
        return "--wire_dtype=bfloat16 halves the bytes"
    return "--compress=int8 sends a quarter of the bytes"


def _slow_pairs(pairs: Sequence[LinkCurve]) -> set[tuple[int, ...]]:
    """Those below what anybody trains with, what their card promises, or what the best gives."""
    best = max((curve.bus_bytes_per_second for curve in pairs), default=0.0)
    return {
        curve.group.ranks
        for curve in pairs
        if curve.bus_bytes_per_second
        < max(_LEAST_BYTES_PER_SECOND, _LEAST_SHARE * _expected(curve), _LEAST_SHARE * best)
    }


def _expected(curve: LinkCurve) -> float:
    promised = curve.group.promised_bytes_per_second
    return min(promised, _MOST_OF_RING) if curve.group.collectives == "ring" else promised


def _slow_node(slow: set[tuple[int, ...]], speeds: Mapping[tuple[int, ...], float]) -> int | None:
    """The one worker all of whose pairs are slow, where they are all that are."""
    ranks = {rank for pair in speeds for rank in pair}
    found = [
        rank
        for rank in ranks
        if slow and slow == {pair for pair in speeds if rank in pair} != set(speeds)
    ]
    # At an end of the row a worker has one pair: if that alone is slow, its other one has another.
    return found[0] if len(found) == 1 else None


def _slow_link(curve: LinkCurve, cluster: Cluster) -> Finding:
    left, right = (cluster.named(rank) for rank in curve.group.ranks)
    promised = curve.group.promised_bytes_per_second
    expected = f"about {rate(promised)}, as the card promises" if promised else "1 Gbit/s or more"
    help_text = advice(curve)
    setting = f" {help_text}." if help_text else ""
    return warn(
        Reason.SLOW_LINK,
        f"the link between {left} and {right} gives {rate(curve.bus_bytes_per_second)}: a step "
        f"with 25 MB of gradients waits {curve.seconds_of(_SHOWN_BYTES):.1f} s",
        expected,
        "Use the addresses of the fast network in --hosts, NCCL_SOCKET_IFNAME for its card; look "
        f"at ethtool (Speed, Duplex).{setting}",
    )
