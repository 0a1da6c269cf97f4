from types import SimpleNamespace

import pytest

from tools.bench.reading import worker


def test_utilisation_is_the_accelerators_time_over_the_whole_without_the_first_step(monkeypatch):
    clock = SimpleNamespace(now=0.0)

    def passing(seconds):
        clock.now += seconds

    waits = iter([5.0, 0.0, 0.1, 0.0, 0.3])
    time = SimpleNamespace(sleep=passing, perf_counter=lambda: clock.now)
    monkeypatch.setattr(worker, "time", time)
    found = worker.utilisation(lambda: passing(next(waits)), 4, 0.2)
    assert found == {"utilisation": pytest.approx(0.8 / 1.2)}


def test_what_is_forgotten_stays_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"data")
    worker.forget([str(path)])
    assert path.read_bytes() == b"data"
