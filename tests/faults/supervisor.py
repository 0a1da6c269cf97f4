"""How fast a launcher stops and starts again, and how often it tries what can't work.

.venv/bin/python -m tests.faults.supervisor --runs=10

Workers of the first two are short programs without TensorFlow, so that the launcher's own share is
measured; those of the others are real.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import tfscale

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 180
LAUNCHER = """
import os, sys
from tfscale.supervise.restarts import supervise
from tfscale.supervise.group_attempt import Launch
commands = [[sys.executable, "-S", "-c", source] for source in {sources!r}]
sys.exit(supervise(Launch(lambda goes_on: commands, dict(os.environ)), restarts=3))
"""
SAVES = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
os.write(1, b"ready\\n")
time.sleep(60)
"""
# The clock is the system's, the same in all processes.
DIES = """
import os, time
now = time.monotonic()
if os.path.exists({mark!r}):
    os.write(1, b"started %f\\n" % now)
else:
    open({mark!r}, "w").close()
    os.write(1, b"died %f\\n" % time.monotonic())
    os.kill(os.getpid(), 9)
"""
CRASHES = """
import keras
def build(spec, num_classes):
    return keras.Sequential([keras.Input(spec.shape), keras.layers.Flatten(),
                             keras.layers.Dense(num_classes)])
class Bug(keras.callbacks.Callback):
    every_batch = True
    everywhere = True
    def on_train_batch_end(self, batch, logs=None):
        if batch == 7:
            raise RuntimeError("a bug at step 8")
def callbacks():
    return [Bug()]
"""


def _run(command, folder, answer=None):
    """Runs a command to its end, or to the deadline; its lines, its code and its seconds."""
    environ = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(folder)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    lines = []
    with subprocess.Popen(command, cwd=ROOT, env=environ, **streams) as process:
        alarm = threading.Timer(DEADLINE_SECONDS, process.kill)
        alarm.start()
        try:
            for line in process.stdout:
                lines.append(line.rstrip())
                if answer is not None:
                    answer(process, lines)
        finally:
            alarm.cancel()
            process.kill()
    return lines, process.returncode


def _launcher(*sources):
    return [sys.executable, "-c", LAUNCHER.format(sources=sources)]


def stop(folder):
    """Seconds from SIGTERM at a launcher with two workers to its end."""
    sent = []

    def answer(process, lines):
        if not sent and sum("ready" in line for line in lines) == 2:
            sent.append(time.monotonic())
            process.send_signal(signal.SIGTERM)

    _, code = _run(_launcher(SAVES, SAVES), folder, answer)
    return time.monotonic() - sent[0] if code == 143 else None


def restart(folder):
    """Seconds from a worker's death by SIGKILL to its successor's first line of Python."""
    waits = "import time; time.sleep(0.01)"
    lines, code = _run(_launcher(DIES.format(mark=str(folder / "mark")), waits), folder)
    told = dict(re.findall(r"(died|started) ([\d.]+)", "\n".join(lines)))
    return float(told["started"]) - float(told["died"]) if code == 0 else None


def _attempts(folder, words, *flags):
    """How often real workers were started; None if the last line doesn't have these words."""
    command = [sys.executable, "launch/local.py", "--workers=2", "--restarts=9", "--"]
    command += ["--dataset=datasets/digits.py", f"--run_dir={folder / 'run'}", "--overwrite"]
    lines, code = _run([*command, "--epochs=1", *flags], folder)
    if not code or words not in lines[-1]:
        return None
    return 1 + sum("The next one begins" in line for line in lines)


def bug(folder):
    """Attempts at a training that fails at the same step each time, with the cause at the end."""
    (folder / "crashes.py").write_text(CRASHES)
    return _attempts(folder, "a bug at step 8", f"--model={folder}/crashes.py", "--batch_size=64")


def bad_flag(folder):
    """Attempts at a command that can't work, with the reason at the end."""
    return _attempts(folder, "cannot be split", "--model=models/mlp.py", "--batch_size=63")


FAULTS = {
    "SIGTERM to the launcher's end, s": (stop, 2.0),
    "death to the next start, s": (restart, 4.0),
    "attempts at a bug (R13: 3)": (bug, 3),
    "attempts at a bad flag (R13: 1)": (bad_flag, 1),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--real_runs", type=int, default=1, help="of those with TensorFlow")
    asked = parser.parse_args()
    show = tfscale.Terminal(print).show
    show(f"{'what':36}{'runs':>6}{'min':>9}{'median':>9}{'max':>9}{'limit':>9}{'failures':>10}")
    has_failed = False
    for what, (measure, limit) in FAULTS.items():
        found = []
        for _ in range(asked.real_runs if measure in (bug, bad_flag) else asked.runs):
            with tempfile.TemporaryDirectory(prefix="tfscale-faults-") as folder:
                found.append(measure(Path(folder)))
        good = [value for value in found if value is not None]
        failures = len(found) - len([value for value in good if value <= limit])
        numbers = [min(good), statistics.median(good), max(good)] if good else [float("nan")] * 3
        shown = "".join(f"{number:9.3g}" for number in (*numbers, limit))
        show(f"{what:36}{len(found):6}{shown}{failures:10}")
        has_failed |= failures > 0
    sys.exit(int(has_failed))


if __name__ == "__main__":
    main()
