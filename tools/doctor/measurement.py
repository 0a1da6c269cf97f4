"""The timed all-reduce: pairs first, so that one bad node has a name, then all together."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tfscale.cluster.cluster import Cluster
from tfscale.structures import Json
from tools.doctor.asked import Asked
from tools.doctor.findings import Finding, Reason, fail
from tools.doctor.links import pair_rounds
from tools.doctor.node import Facts
from tools.doctor.orders import Order
from tools.doctor.time_limits import Background
from tools.profiles.link_curve import Group, LinkCurve, Point

_SUMMING_SECONDS = 6.0
_START_SECONDS = 15.0  # for those of a round to meet
_ROUND_SECONDS = _SUMMING_SECONDS + _START_SECONDS + 6.0
_IMPORT_SECONDS = 30.0  # on a busy machine, from a slow disk
_LEAST_SECONDS = 14.0  # for a round to have a chance
_MOST_BYTES = 256 * 2**20
_COPIES = 8  # of the largest size that TensorFlow may have at a time

# Gives what a worker answers to an order within some seconds, or once it is ready for one where
# there is none; None where it doesn't answer.
Send = Callable[[int, Order | None, float], dict[str, Json] | None]
_Answers = dict[int, dict[str, Json]]  # by rank


@dataclass
class Measured:
    """What came of it.

    Args:
        pairs: a curve of each pair.
        together: of all, where that is another measurement; of one worker's devices, too.
        findings: what failed.
        skipped: why something wasn't measured.
    """

    pairs: list[LinkCurve] = field(default_factory=list)
    together: LinkCurve | None = None
    findings: list[Finding] = field(default_factory=list)
    skipped: str = ""

    @property
    def curves(self) -> tuple[LinkCurve, ...]:
        """All of them, that of all workers last."""
        return (*self.pairs, *([self.together] if self.together else []))


class Measurement:
    """Lets workers sum, and says what came of it.

    Args:
        asked: what a run would be.
        cluster: who the workers are.
        nodes: the facts of each.
        send: asks a worker.
    """

    def __init__(
        self, asked: Asked, cluster: Cluster, nodes: Mapping[int, Facts], send: Send
    ) -> None:
        self._order = _order(asked, nodes)
        self._cluster, self._nodes, self._send = cluster, nodes, send

    def run(self, deadline: float) -> Measured:
        """Lets pairs sum, then all; ends at the first round in which something fails.

        Args:
            deadline: of `time.monotonic`.
        """
        measured, workers = Measured(), self._cluster.num_workers
        rounds: list[list[tuple[int, ...]]] = [[(0,)]]
        if workers > 1:
            rounds = [list(pairs) for pairs in pair_rounds(workers)]
            rounds += [[tuple(range(workers))]] if workers > 2 else []
        for number, groups in enumerate(rounds):
            answers = self._answers(groups, deadline)
            curves, findings = self._curves(groups, answers)
            if not answers or (findings and _have_run_out_of_time(answers, deadline)):
                measured.skipped = f"{number} of {len(rounds)} rounds measured: no time was left"
                break
            measured.findings += findings
            if len(groups[0]) == 2:
                measured.pairs += curves
            elif curves:
                measured.together = curves[0]
            if findings:
                break
        return measured

    def _answers(self, groups: Sequence[tuple[int, ...]], deadline: float) -> _Answers:
        """Lets each group sum by itself, all groups at the same time; nothing without time."""
        orders: dict[int, Order | None] = {}
        for ranks in groups:
            places = [self._cluster.addresses[rank] for rank in ranks if len(ranks) > 1]
            for index, rank in enumerate(ranks):
                orders[rank] = replace(self._order, hosts=tuple(places), index=index)
        if deadline - time.monotonic() < _LEAST_SECONDS:
            return {}
        # TensorFlow may take long to be imported, which is no fault of the links.
        ready = self._ask(dict.fromkeys(orders), _IMPORT_SECONDS, deadline)
        if any("error" in answer for answer in ready.values()):
            return ready
        return self._ask(orders, _ROUND_SECONDS, deadline)

    def _ask(self, orders: Mapping[int, Order | None], seconds: float, deadline: float) -> _Answers:
        """What each worker answers within some seconds."""
        seconds = max(0.0, min(seconds, deadline - time.monotonic() - 1.0))
        asked = {
            rank: Background(partial(self._send, rank, order, seconds))
            for rank, order in orders.items()
        }
        until = time.monotonic() + seconds + 2.0
        late: dict[str, Json] = {"error": f"no answer within {seconds:.0f} s", "is_late": True}
        return {
            rank: one.result(until - time.monotonic(), None) or late for rank, one in asked.items()
        }

    def _curves(
        self, groups: Sequence[tuple[int, ...]], answers: _Answers
    ) -> tuple[list[LinkCurve], list[Finding]]:
        """What the groups have measured, and which of them have failed."""
        curves, findings = [], []
        for ranks in groups if answers else ():
            problems = {rank: answers[rank]["error"] for rank in ranks if "error" in answers[rank]}
            if problems:
                findings.append(_failed(ranks, problems, self._cluster))
            elif answers[ranks[0]]["points"]:
                curves.append(_curve(ranks, answers[ranks[0]], self._order, self._nodes))
        return curves, findings


def _order(asked: Asked, nodes: Mapping[int, Facts]) -> Order:
    """What all orders have in common."""
    free = [
        node["machine"]["memory_free_bytes"] / node["machine"]["workers_here"] / _COPIES
        for node in nodes.values()
        if node["machine"]
    ]
    return Order(
        hosts=(),
        index=0,
        collectives=asked.collectives,
        wire_dtype=asked.wire_dtype,
        devices=asked.devices,
        seconds=_SUMMING_SECONDS,
        start_seconds=_START_SECONDS,
        most_bytes=int(min([_MOST_BYTES, *free])),
    )


def _have_run_out_of_time(answers: _Answers, deadline: float) -> bool:
    """Whether those that haven't answered had less time than a round takes."""
    are_late = all(answer.get("is_late") for answer in answers.values() if "error" in answer)
    return are_late and time.monotonic() > deadline - _LEAST_SECONDS


def _failed(ranks: Sequence[int], problems: Mapping[int, str], cluster: Cluster) -> Finding:
    names = " and ".join(cluster.named(rank) for rank in ranks)
    said = "; ".join(f"worker {rank}: {why}" for rank, why in problems.items())
    found = fail(
        Reason.ALL_REDUCE,
        f"the all-reduce of {names} has not come to its end ({said})",
        "sums",
        "A firewall that lets only some ports through, an interface that NCCL or gRPC has chosen "
        "(NCCL_SOCKET_IFNAME, NCCL_DEBUG=INFO), or a node that is out of memory.",
    )
    return found.at(next(iter(problems))) if len(problems) == 1 else found


def _curve(
    ranks: tuple[int, ...], answer: dict[str, Json], order: Order, nodes: Mapping[int, Facts]
) -> LinkCurve:
    names = tuple(str(nodes[rank]["machine"].get("host", "")) for rank in ranks)
    promised = min((_promised(nodes[rank], ranks, answer) for rank in ranks), default=0.0)
    kind = str(answer["collectives"])
    group = Group(ranks, names, int(answer["replicas"]), kind, order.wire_dtype, promised)
    return LinkCurve(group, tuple(Point(int(size), *rest) for size, *rest in answer["points"]))


def _promised(node: Facts, ranks: Sequence[int], answer: Mapping[str, Json]) -> float:
    """Bytes a second of the cards by which a node reaches the others; 0 where one doesn't say."""
    if len(ranks) == 1 or not (node["ways"] and node["machine"]):
        return 0.0
    active = [port["gbits"] for port in node["machine"]["infiniband"] if port["state"] == "ACTIVE"]
    if answer["collectives"] == "nccl" and active:
        return float(max(active)) * 1e9 / 8
    cards = {node["ways"]["peers"][rank]["interface"] for rank in ranks}
    speeds = [node["ways"]["interfaces"][card]["mbits"] for card in cards if card not in ("", "lo")]
    return float(min(speeds, default=0)) * 1e6 / 8
