import os
import shutil
import subprocess
import sys

import pytest

from tests.supervise.sources import ALARM, DEADLINE_SECONDS, ROOT


@pytest.mark.parametrize("how", [["launch/local.py"], ["-m", "launch.local"]])
def test_the_program_starts_the_worker_beside_it_without_the_shells_tf_config(tmp_path, how):
    (tmp_path / "launch").mkdir()
    (tmp_path / "tfscale").symlink_to(ROOT / "tfscale")
    for name in ("__init__.py", "local.py", "program.py"):
        shutil.copy(ROOT / "launch" / name, tmp_path / "launch" / name)
    show = "print(sys.argv[1:], os.environ.get('TF_CONFIG'))\n"
    (tmp_path / "launch" / "worker.py").write_text(ALARM + show + "sys.exit(5)\n")
    done = subprocess.run(
        [
            sys.executable,
            *how,
            "--workers=1",
            "--devices=2",
            "--restarts=0",
            "--",
            "--epochs=3",
            "--workers=9",
        ],
        cwd=tmp_path,
        env=dict(os.environ) | {"TF_CONFIG": "{}"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert (done.stdout, done.returncode) == (
        "['--cluster=none', '--devices=2', '--epochs=3', '--workers=9'] None\n",
        5,
    ), done.stderr
