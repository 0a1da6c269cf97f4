import faulthandler

from tests.startup.greeting import Server, comes_true, free_port
from tfscale.cluster.cluster import Cluster
from tfscale.startup.network.constructor_timeout import ended_at


class _Timer:
    """Notes what the timer of C is asked for, which would end this process."""

    def __init__(self, monkeypatch):
        self.asked = []
        monkeypatch.setattr(
            faulthandler, "dump_traceback_later", lambda *args, **kwargs: self.asked.append(args)
        )
        monkeypatch.setattr(
            faulthandler, "cancel_dump_traceback_later", lambda: self.asked.append("cancelled")
        )


def _cluster(*others):
    return Cluster(("127.0.0.1:1", *others), 0)


def test_who_is_gone_is_said_when_the_time_is_over(monkeypatch, tmp_path):
    timer, path = _Timer(monkeypatch), tmp_path / "terminal"
    gone = f"127.0.0.1:{free_port()}"
    with Server() as there, path.open("wb") as terminal:
        with ended_at(0.1, _cluster(there.address, gone), terminal.fileno()):
            assert comes_true(lambda: path.read_text().endswith("\n"))
    line = path.read_text()
    assert "Worker 0 gave up: all workers were there" in line
    assert f"worker 2 at {gone} is gone again (Connection refused)" in line
    assert "worker 1" not in line
    ((seconds,), cancelled) = timer.asked
    assert 0.1 < seconds < 5.0
    assert cancelled == "cancelled"


def test_nothing_is_said_when_the_body_ends_in_time(monkeypatch, tmp_path):
    _Timer(monkeypatch)
    path = tmp_path / "terminal"
    with path.open("wb") as terminal, ended_at(60.0, _cluster("127.0.0.1:2"), terminal.fileno()):
        pass
    assert path.read_text() == ""
