"""Worker 0 among all nodes: it waits for the others, asks them, and lets them measure."""

import queue
import secrets
import time
from dataclasses import asdict
from functools import partial

from tfscale.startup.network.handshake import Hello
from tfscale.structures import Json
from tools.doctor import comparison, links, measurement, node, shared_folder
from tools.doctor.asked import Asked
from tools.doctor.examination import Examination
from tools.doctor.findings import Finding, Reason, fail
from tools.doctor.orders import Order
from tools.doctor.reception import Line, Reception, problems, receive
from tools.doctor.tensorflow_process import TensorflowProcess
from tools.doctor.time_limits import Background, all_within

_ASK_SECONDS = 3.0  # for what needs no work
_CLOCK_ROUNDS = 3


class Lead:
    """Worker 0's part: it waits for the others, asks them, and lets them measure.

    Args:
        asked: what a run would be.
        examination: gets what is found.
        tensorflow: this node's.
        deadline: of `time.monotonic`, for all of it.
    """

    def __init__(
        self,
        asked: Asked,
        examination: Examination,
        tensorflow: TensorflowProcess,
        deadline: float,
    ) -> None:
        self._asked, self._found, self._tensorflow = asked, examination, tensorflow
        self._cluster, self._deadline = examination.cluster, deadline
        self._lines: dict[int, Line] = {}
        self._missing: dict[int, str] = {}  # why those that didn't come can't be reached, by rank
        self._unmet: dict[int, dict[int, str]] = {}  # whom each that came can't reach, and why

    def examine(self, own_facts: Background[node.Facts]) -> None:
        """Finds out everything, of all nodes, and tells them whether a run would fail."""
        try:
            self._ask_everything(own_facts)
            if not self._found.would_fail:
                with self._found.doing("links"):
                    self._measure()
            for line in self._lines.values():
                line.say({"order": "end", "fails": self._found.would_fail})
        finally:
            for line in self._lines.values():
                line.close()

    def _ask_everything(self, own_facts: Background[node.Facts]) -> None:
        """All but what needs the ports of the run, which are free again afterwards."""
        found, reception = self._found, None
        try:
            if self._cluster.num_workers > 1:
                with found.doing("meeting"):
                    reception = self._receive()
            with found.doing("nodes"):
                self._hear_facts(own_facts)
            with found.doing("clocks"):
                self._compare_clocks()
            if self._asked.run_dir:
                with found.doing("folder"):
                    self._try_folder()
        finally:
            if reception is not None:
                reception.close()

    def _receive(self) -> Reception | None:
        """Meets the others, if the port can be had."""
        own = Hello.of(self._cluster)
        reception = receive(own, self._cluster)
        if isinstance(reception, Finding):
            self._found.findings.append(reception)
            return None
        self._meet(own, reception)
        return reception

    def _meet(self, own: Hello, reception: Reception) -> None:
        cluster, until = self._cluster, time.monotonic() + self._asked.start_timeout
        looking = Background(lambda: problems(cluster, own, until))
        while len(self._lines) < cluster.num_workers - 1 and time.monotonic() < until:
            try:
                rank, line = reception.staying.get(timeout=0.1)
            except queue.Empty:
                continue
            if rank in self._lines:
                self._found.findings.append(_twice(rank, self._lines[rank], line))
                line.close()
            else:
                self._lines[rank] = line
        unmet = looking.result(until + _ASK_SECONDS - time.monotonic(), {})
        self._unmet[0] = unmet
        for rank in range(1, cluster.num_workers):
            if rank not in self._lines:
                self._missing[rank] = unmet.get(rank, "it is there, and can't reach worker 0")

    def _hear_facts(self, own_facts: Background[node.Facts]) -> None:
        found = self._found
        seconds = node.SECONDS + self._asked.start_timeout
        hearing = [partial(line.hear, seconds) for line in self._lines.values()]
        told = all_within(seconds, hearing, None)
        for rank, words in zip(tuple(self._lines), told, strict=True):
            if words is None or not {"facts", "findings", "unmet"} <= set(words):
                self._missing[rank] = "it came, and has not said what it is"
                self._lines.pop(rank).close()
                continue
            found.nodes[rank] = words["facts"]
            found.findings += map(Finding.of_json, words["findings"])
            self._unmet[rank] = {int(other): why for other, why in words["unmet"].items()}
        found.nodes[0] = own_facts.result(node.SECONDS + _ASK_SECONDS, {})
        found.findings += node.judge(found.nodes[0], self._asked, self._cluster)
        came_from = {rank: line.came_from for rank, line in self._lines.items()}
        found.findings += comparison.reachability(
            self._cluster, self._missing, self._unmet, came_from
        )
        found.findings += comparison.judge(
            dict(sorted(found.nodes.items())), may_share=self._asked.collectives == "ring"
        )

    def _compare_clocks(self) -> None:
        for rank, line in self._lines.items():
            rounds = []
            for _ in range(_CLOCK_ROUNDS):
                before = self._asked.clock()
                answer = line.ask({"order": "clock"}, _ASK_SECONDS)
                after = self._asked.clock()
                if answer is not None:
                    # What came back was said in the middle, give or take half of the way.
                    ahead = answer["clock"] - (before + after) / 2
                    rounds.append(((after - before) / 2, ahead))
            if rounds:
                uncertain, ahead = min(rounds)
                self._found.offsets[rank] = ahead, uncertain
        self._found.findings += comparison.clocks(self._found.offsets)

    def _try_folder(self) -> None:
        run_dir, name = self._asked.run_dir, f"probe-{secrets.token_hex(8)}"
        told = {0: shared_folder.write(run_dir, name)}
        lines = self._lines if "error" not in told[0] else {}
        seconds = shared_folder.SECONDS + _ASK_SECONDS
        words = {"order": "folder", "name": name}
        asking = [partial(line.ask, words, seconds) for line in lines.values()]
        heard = all_within(seconds, asking, None)
        for rank, answer in zip(lines, heard, strict=True):
            told[rank] = answer or {"error": "that node has not answered"}
        shared_folder.remove(run_dir, name)
        self._found.folder = told
        self._found.findings += shared_folder.judge(run_dir, told)

    def _measure(self) -> None:
        for line in self._lines.values():
            line.ask({"order": "quiet"}, _ASK_SECONDS)  # nothing listens at its port any more

        def send(rank: int, order: Order | None, seconds: float) -> dict[str, Json] | None:
            if rank == 0 and order is None:
                return self._tensorflow.get_ready(seconds)
            if rank == 0 and order is not None:
                return self._tensorflow.measure(order, seconds)
            words = {"order": "measure", "what": order and asdict(order), "seconds": seconds}
            return self._lines[rank].ask(words, seconds + 1.0)

        found = self._found
        rounds = measurement.Measurement(self._asked, self._cluster, found.nodes, send)
        found.measured = rounds.run(self._deadline)
        found.findings += found.measured.findings
        found.findings += links.judge(found.measured.pairs, self._cluster)


def _twice(rank: int, first: Line, second: Line) -> Finding:
    return fail(
        Reason.CLUSTER,
        f"two processes say that they are worker {rank}, from {first.came_from} and "
        f"{second.came_from}",
        "an --index of its own for each",
        "Give each node its own --index, or start one process on each.",
    ).at(rank)
