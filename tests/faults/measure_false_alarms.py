"""Whether a busy machine is taken for a lost worker: a job trains while every core computes.

    .venv/bin/python -m tests.faults.measure_false_alarms --minutes=10

Prints how long it trained, how many epochs that were, and alarms: workers that have ended. The exit
code is 1 if there was one.
"""

import os
import subprocess
import sys
import time

from absl import app, flags

from tests.faults.running import Running

_MINUTES = flags.DEFINE_float("minutes", 10.0, "How long it trains.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Of the job.", lower_bound=2)
_HEARTBEAT = flags.DEFINE_float("heartbeat_timeout", 10.0, "Seconds of silence.")
_BURNERS = flags.DEFINE_integer("burners", 2, "Processes that compute beside them, a core.")

# It ends with this process, whatever ends that.
_BURN = "import os\nowner = os.getppid()\nwhile os.getppid() == owner: sum(range(100_000))"


def main(argv):
    """Trains beside processes that only compute."""
    del argv
    seconds = 60.0 * _MINUTES.value
    burners = []
    with Running(_WORKERS.value, f"--heartbeat_timeout={_HEARTBEAT.value}") as job:
        job.wait_until_training()
        try:
            for _ in range(_BURNERS.value * (os.cpu_count() or 1)):
                burners.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", _BURN]))
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                if not all(worker.is_running for worker in job.workers.values()):
                    break
                time.sleep(0.1)
            trained = time.monotonic() - began
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()
        ended = [worker.ended() for worker in job.workers.values() if not worker.is_running]
        epochs = job.workers[0].out.read_text().count("Epoch ")
        print(f"{trained:.0f} s of training, {epochs} epochs told, {len(ended)} workers have ended")
        for end in ended:
            print(f"    {end.err.strip()}")
    sys.exit(1 if ended else 0)


if __name__ == "__main__":
    app.run(main)
