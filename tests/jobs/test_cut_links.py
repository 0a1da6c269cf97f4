"""Two workers whose connections are all cut off while both run: they hear each other afterwards."""

import sys
import textwrap

import pytest

from tests.jobs.workers import ROOT, free_addresses, start_all

pytestmark = pytest.mark.promise("connections")

DEADLINE_SECONDS = 90
PROGRAM = """
    import json, os, sys, threading, time
    from types import SimpleNamespace

    addresses, rank, cutter = sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3])
    cluster = {"worker": addresses}
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": cluster, "task": {"type": "worker", "index": rank}}
    )
    import tensorflow as tf

    from tfscale.cluster.cluster import Cluster
    from tfscale.errors import ConfigError, SharedFailure
    from tests.faults.fault_kinds import KINDS
    from tfscale.startup.board import Board
    from tfscale.startup.meeting import Meeting

    quiet = SimpleNamespace(happens=lambda: None)

    def cut():
        time.sleep(1.0)  # all threads ask the store, and wait
        if rank == cutter:
            KINDS["cut_link"].act(quiet)
        time.sleep(1.0)

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    board = Board(Cluster(tuple(addresses), rank), lambda text: print("complains:", text), 8.0)
    meeting = Meeting(board, "stop")
    try:
        with board.share_failures():
            cut()
            if rank == 1:
                meeting.call("somebody stops")
            while not (reason := meeting.reached()):
                time.sleep(0.02)
            print("meets:", reason, flush=True)
            if rank == cutter:
                threading.Timer(1.0, lambda: KINDS["cut_link"].act(quiet)).start()
            else:
                time.sleep(2.0)
            board.barrier("both")
            print("is past the barrier", flush=True)
            cut()
            if rank == cutter:
                raise ConfigError("the reason of one")
            time.sleep(60.0)
    except SharedFailure as failure:
        print("fails:", failure.reason, flush=True)
        os._exit(failure.code)
"""


@pytest.fixture(scope="module", params=[0, 1], ids=["chief", "other"])
def ended(request, tmp_path_factory):
    """How both ended where one of them cuts all its connections, and which one."""
    program = tmp_path_factory.mktemp("cut") / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    hosts = free_addresses(2)
    cutter = request.param
    commands = [
        [sys.executable, str(program), ",".join(hosts), str(rank), str(cutter)] for rank in range(2)
    ]
    environ = {"PYTHONPATH": str(ROOT)}
    return cutter, start_all(
        commands, deadline_seconds=DEADLINE_SECONDS, environ=environ, is_warm=True
    )


def test_workers_still_meet_after_a_cut(ended):
    _, workers = ended
    for worker in workers:
        assert "meets: somebody stops\n" in worker.out, worker


def test_who_waits_for_another_still_does(ended):
    _, workers = ended
    for worker in workers:
        assert "is past the barrier\n" in worker.out, worker


def test_the_reason_of_one_still_ends_the_other(ended):
    cutter, workers = ended
    assert [worker.code for worker in workers] == [2, 2], workers
    assert "fails: the reason of one\n" in workers[cutter].out, workers
    assert "complains: the reason of one\n" in workers[1 - cutter].out, workers
