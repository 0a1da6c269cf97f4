"""One worker of one system: `python -m tools.bench.worker TASK`, with the task as JSON.

It gets ready and then trains as many steps as each order says; 0 asks when the parts of the last
step were done.
"""

import importlib
import resource
import sys
import time

from tfscale.supervise.answers import answering, listening
from tools.bench.task import Task

_WARM_UP_STEPS = 2


def main(text: str) -> None:
    """Answers each order with seconds."""
    answer, orders = answering(), listening()
    started = time.perf_counter()
    task = Task.from_json(text)
    system = importlib.import_module(f"tools.bench.systems.{task.variant.system}")
    run = system.prepare(task)
    run(_WARM_UP_STEPS)
    answer(seconds=time.perf_counter() - started)
    for order in orders:
        steps = int(order)
        if not steps:
            answer(**run.step_times())
            continue
        started = time.perf_counter()
        run(steps)
        seconds = time.perf_counter() - started
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer(seconds=seconds, peak_bytes=1024 * kilobytes)


if __name__ == "__main__":
    main(sys.argv[1])
