"""Every worker but the first among all nodes: it says what it is, and does what worker 0 asks."""

import contextlib
import json
import time

from tfscale.startup.network.handshake import Hello
from tfscale.structures import Json
from tools.doctor import comparison, node, shared_folder
from tools.doctor.asked import Asked
from tools.doctor.examination import Examination
from tools.doctor.findings import Finding, Reason, fail
from tools.doctor.orders import Order
from tools.doctor.reception import Line, Reception, line_to, problems, receive
from tools.doctor.tensorflow_process import TensorflowProcess
from tools.doctor.time_limits import Background

_ASK_SECONDS = 3.0  # for this node's own last answer
_LONGEST_SECONDS = 90.0  # of worker 0's silence while others measure


class Follower:
    """Every other worker's part: it tells what it is, and does what worker 0 asks.

    Args:
        asked: what a run would be.
        examination: gets what is found here.
        tensorflow: this node's.
    """

    def __init__(
        self, asked: Asked, examination: Examination, tensorflow: TensorflowProcess
    ) -> None:
        self._asked, self._found, self._tensorflow = asked, examination, tensorflow
        self._cluster = examination.cluster

    def examine(self, own_facts: Background[node.Facts]) -> bool | None:
        """Takes part; gives whether a run would fail, as worker 0 says, None where it can't."""
        own = Hello.of(self._cluster)
        reception = receive(own, self._cluster)
        if isinstance(reception, Finding):
            self._found.findings.append(reception)
        try:
            return self._take_part(own, own_facts, reception)
        finally:
            if isinstance(reception, Reception):
                reception.close()

    def _take_part(
        self, own: Hello, own_facts: Background[node.Facts], reception: Reception | Finding
    ) -> bool | None:
        found, cluster = self._found, self._cluster
        until = time.monotonic() + self._asked.start_timeout
        with found.doing("meeting"):
            why = problems(cluster, own, until, [0]).get(0, "")
            line = None if why else line_to(cluster, own)
            others = [rank for rank in range(1, cluster.num_workers) if rank != cluster.index]
            unmet = problems(cluster, own, until, others) if line else {}
        with found.doing("nodes"):
            facts = own_facts.result(node.SECONDS + _ASK_SECONDS, {})
            found.nodes[cluster.index] = facts
            found.findings += node.judge(facts, self._asked, cluster)
        if line is None:
            found.told_by = cluster.index
            missing = {0: why or "it hangs up"}
            found.findings += comparison.reachability(cluster, missing, {}, {})
            return None
        told = [finding.as_json() for finding in found.findings]
        line.say({"facts": facts, "findings": told, "unmet": unmet})
        with found.doing("worker 0's questions"), contextlib.closing(line):
            return self._answer(line, reception)

    def _answer(self, line: Line, reception: Reception | Finding) -> bool | None:
        while (asks := line.hear(_LONGEST_SECONDS)) is not None:
            if asks["order"] == "clock":
                line.say({"clock": self._asked.clock()})
            elif asks["order"] == "folder":
                line.say(shared_folder.read(self._asked.run_dir, asks["name"]))
            elif asks["order"] == "quiet":
                if isinstance(reception, Reception):
                    reception.close()
                line.say({"is_quiet": True})
            elif asks["order"] == "measure":
                line.say(self._sum(asks["what"], asks["seconds"]))
            else:
                return bool(asks["fails"])
        self._found.findings.append(
            fail(
                Reason.MISSING,
                f"{self._cluster.named(0)} has gone before the end",
                "its word on all nodes",
                "Look at its output.",
            ).at(0)
        )
        self._found.told_by = self._cluster.index
        return None

    def _sum(self, what: Json, seconds: float) -> dict[str, Json]:
        """Sums as it is told, or gets ready where it is told nothing."""
        if what is None:
            return self._tensorflow.get_ready(seconds)
        return self._tensorflow.measure(Order.from_json(json.dumps(what)), seconds)
