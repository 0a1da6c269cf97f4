"""Nodes in one process: the real part of each worker, with a TensorFlow of the test's."""

import os
import time

from tests.jobs.workers import free_addresses
from tfscale.cluster.cluster import Cluster
from tools.doctor import comparison, machine, packages, ways
from tools.doctor.asked import Asked
from tools.doctor.examination import Examination
from tools.doctor.follower import Follower
from tools.doctor.lead import Lead
from tools.doctor.time_limits import Background

SEEN = {"gpus": [], "kinds": ["CPU"], "cudnn": None, "compared": {"keras": "3"}}
POINTS = [[1024, 1e-3, 1e6], [2**20, 1e-2, 1e8]]


class FakeTensorflow:
    """Sums by itself, as fast as it is told."""

    def __init__(self, answer=None):
        self.answer = answer or {"replicas": 2, "collectives": "ring", "points": POINTS}

    def get_ready(self, seconds):
        return {"is_ready": True}

    def measure(self, order, seconds):
        return self.answer


def examine(ranks, addresses=(), *, asks=(), answers=(), timeout=8.0, workers=2):
    """What the nodes of some ranks find, by rank; all of a cluster's need not come.

    Args:
        ranks: of those that come.
        addresses: of all.
        asks: what is asked of a rank otherwise than usual.
        answers: what its TensorFlow says to an order.
        timeout: to wait for those that don't come.
        workers: of the cluster.
    """
    addresses = tuple(addresses) or tuple(free_addresses(workers))
    found, parts = {}, []
    for rank in ranks:
        cluster = Cluster(addresses, rank)
        asked = Asked(Cluster, {}, start_timeout=timeout, **dict(asks).get(rank, {}))
        found[rank] = Examination(cluster)
        facts = _facts(cluster, asked)
        tensorflow = FakeTensorflow(dict(answers).get(rank))
        deadline = time.monotonic() + 40
        part = (
            Follower(asked, found[rank], tensorflow)
            if rank
            else Lead(asked, found[rank], tensorflow, deadline)
        )
        parts.append(Background(lambda part=part, facts=facts: part.examine(facts) or "done"))
    said = [part.result(40, "late") for part in parts]
    assert "late" not in said
    return found


def _facts(cluster, asked):
    told = {
        "tensorflow": SEEN,
        "packages": packages.facts(),
        "machine": machine.facts(cluster, {}),
        "gpus": {},
        "ways": ways.facts(cluster, asked.environ),
        "variables": comparison.variables(os.environ),
    }
    return Background(lambda: told)


def reasons(examination):
    """Reason and worker of each finding."""
    return [(finding.reason.value, finding.node) for finding in examination.findings]
