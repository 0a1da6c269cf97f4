r"""Tries everything on a machine with GPUs that is lent for minutes; leaves a folder of results.

    python launch/gpu_check.py --out=runs/gpu-check --minutes=12

The most telling comes first, and the summary is whole after each step: what isn't done when the
time is over is missing, and nothing else.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.user_paths import local_path
from tools.gpu_check.session import run
from tools.gpu_check.steps import Machine, steps

_OUT = flags.DEFINE_string("out", "runs/gpu-check", "The folder of results; a new one.")
_MINUTES = flags.DEFINE_float("minutes", 12.0, "What isn't begun in them is left out.")
_LOGICAL = flags.DEFINE_integer(
    "devices", 0, "Logical CPU devices in place of GPUs, to try it out.", lower_bound=0
)
_COUNT = "from tfscale.startup.gpu_shares import visible_gpus; print(len(visible_gpus()))"
_COUNT_SECONDS = 30.0  # a driver that hangs may never say how many there are


def main(terminal: tfscale.Terminal) -> int:
    """Runs the steps; 1 if one of them failed."""
    out = Path(local_path(_OUT.value, "--out"))
    if out.exists():
        raise tfscale.ConfigError(
            f"--out={_OUT.value} is there already; expected a new folder, so that nothing of "
            "another machine is among the results. Use another name."
        )
    machine = Machine(0 if _LOGICAL.value else _num_gpus(), _LOGICAL.value)
    if not (machine.gpus or machine.logical):
        raise tfscale.ConfigError(
            "The driver shows no GPU to this process; expected at least one. Look at nvidia-smi "
            "and CUDA_VISIBLE_DEVICES, or try the steps out with --devices=2."
        )
    root = Path(__file__).resolve().parents[1]
    asked = steps(machine, out)
    ended = run(asked, out, seconds=60 * _MINUTES.value, root=root, say=terminal.show)
    terminal.show((out / "summary.md").read_text(encoding="utf-8"))
    terminal.show(f"Take it away: tar czf gpu-check.tgz {_OUT.value}")
    return int(any(one.code for one in ended))


def _num_gpus() -> int:
    command = [sys.executable, "-c", _COUNT]
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, cwd=root, capture_output=True, text=True, timeout=_COUNT_SECONDS, check=True
        )
        return int(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        return 0


if __name__ == "__main__":
    program.run(main)
