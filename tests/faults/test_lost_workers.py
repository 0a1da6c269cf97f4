"""R1, R2, R4, R5: whatever becomes of a worker, all others end and name it.

How long that takes is measured by `python -m tests.faults.measure_lost_workers`.
"""

from dataclasses import replace

import pytest

from tests.faults.lost_workers import FAULTS, Settings

pytestmark = [pytest.mark.long, pytest.mark.promise("lost_workers")]

# As short as a busy machine allows: nothing is asserted about time.
SETTINGS = Settings(workers=2, heartbeat_timeout=4.0, start_timeout=7.0)
# With more than one that is left: each has to hear of it by itself.
OF_THREE = ("SIGKILL of a worker", "SIGSTOP of the chief")


@pytest.mark.parametrize("name", FAULTS)
def test_all_others_end_and_name_the_worker_that_is_lost(name):
    fault = FAULTS[name]
    if not fault.is_possible():
        pytest.skip("it needs root, ip and tc")
    settings = replace(SETTINGS, workers=3) if name in OF_THREE else SETTINGS
    assert fault.play(settings).problem == ""
