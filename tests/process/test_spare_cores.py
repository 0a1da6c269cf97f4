from collections import namedtuple

import psutil
import pytest

from tfscale.process import spare_cores
from tfscale.process.spare_cores import SpareCores

Times = namedtuple("Times", "user system idle iowait")


def test_idle_cores_are_counted_of_those_that_this_process_may_run_on(monkeypatch):
    now = [Times(0, 0, 0, 0)] * 4
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: now)
    monkeypatch.setattr(spare_cores, "_own_cores", lambda: [1, 2])
    spare = SpareCores()
    now = [Times(0, 0, 9, 0), Times(4, 2, 3, 1), Times(0, 0, 8, 2), Times(0, 0, 9, 0)]
    assert spare.measure() == pytest.approx(1.4)  # of 10 s, 4 and 10 idle
    assert spare.measure() == 0.0  # nothing has gone by


def test_a_real_machine_has_between_none_and_all():
    spare = SpareCores()
    assert 0.0 <= spare.measure() <= psutil.cpu_count()
