import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.health.preemption import Preemption
from tfscale.process.exit import record_end_in


@pytest.fixture
def ends():
    """Why all workers were ended, of a run that hasn't begun to train."""
    yield []
    record_end_in(None)


@pytest.mark.parametrize(
    ("number", "record", "how"),
    [
        (signal.SIGINT, None, "stopped by SIGINT"),
        (signal.SIGTERM, None, "stopped by SIGTERM"),
        # Whatever came to the launcher, it sends SIGTERM, and has said what came.
        (signal.SIGTERM, Path("/nowhere/end.json"), "told to stop"),
    ],
)
def test_a_worker_calls_a_signal_by_its_name_unless_a_launcher_sends_it(ends, number, record, how):
    class Ended(Exception):
        pass

    def end_all(reason, code):
        ends.append((reason, code))
        raise Ended

    cluster = Cluster(("a:1", "b:2"), 1)
    terminal = SimpleNamespace(complain=lambda line: None)
    job = SimpleNamespace(
        cluster=cluster, terminal=terminal, board=SimpleNamespace(end_all=end_all)
    )
    record_end_in(record)
    with pytest.raises(Ended):
        Preemption(job)._stop(number)
    told = f"Worker 1 at b:2 was {how} before training began; there was nothing to save."
    assert ends == [(told, 143)]
