"""R1, R2, R4, R5: whatever becomes of a worker, all others end and name it.

How long that takes is measured by `python -m tests.faults.measure_lost_workers`.
"""

import pytest

from tests.faults.lost_workers import FAULTS, Settings

# As short as a busy machine allows: nothing is asserted about time.
SETTINGS = Settings(workers=3, heartbeat_timeout=4.0, start_timeout=7.0)


@pytest.mark.parametrize("name", FAULTS)
def test_all_others_end_and_name_the_worker_that_is_lost(name):
    fault = FAULTS[name]
    if not fault.is_possible():
        pytest.skip("it needs root, ip and tc")
    assert fault.play(SETTINGS).problem == ""
