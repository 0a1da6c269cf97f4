"""What SkyPilot is told in launch/skypilot/train.yaml, as far as it says something of ours."""

import re
import shlex

import yaml

from launch import worker_flags
from tests.jobs.workers import ROOT
from tfscale.errors import CONFIG_CODE, PREEMPTED_CODE, START_TIMEOUT_CODE

TASK = yaml.safe_load((ROOT / "launch" / "skypilot" / "train.yaml").read_text())


def _words():
    return shlex.split(TASK["run"].replace("\\\n", " "))


def test_a_managed_job_comes_back_to_its_own_run():
    flags = dict(word.lstrip("-").split("=", 1) for word in _words()[2:])
    assert set(flags) <= set(worker_flags.FLAGS)
    volume = re.escape(next(iter(TASK["volumes"])))
    assert re.fullmatch(volume + r"/\$SKYPILOT_TASK_ID", flags["run_dir"])
    assert "overwrite" not in flags
    assert not re.search(r"--(hosts|index|cluster)", TASK["run"]), "SkyPilot says who they are"


def test_it_comes_back_where_that_helps_and_never_for_what_cannot_work():
    recovery = TASK["resources"]["job_recovery"]
    assert recovery == {"recover_on_exit_codes": [START_TIMEOUT_CODE, PREEMPTED_CODE]}
    assert CONFIG_CODE not in recovery["recover_on_exit_codes"]
    assert "--restarts=3" in _words()
    assert (ROOT / "requirements-gpu.txt").exists()
