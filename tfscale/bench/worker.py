"""One worker of one system: `python -m tfscale.bench.worker TASK`, with the task as JSON.

It gets ready and then trains as many steps as each line of its standard input says; 0 asks when the
parts of the last step were done. Each answer is a line of JSON on the standard output. It ends with
its input, so that none outlives who asked.
"""

import importlib
import json
import os
import queue
import resource
import sys
import threading
import time

from tfscale.bench.task import Task
from tfscale.process.exit import leave
from tfscale.structures import Foreign

_WARM_UP_STEPS = 2


def main(text: str) -> None:
    """Answers each line with seconds."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    orders: queue.Queue[int] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()

    def answer(**values: Foreign) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    started = time.perf_counter()
    task = Task.from_json(text)
    system = importlib.import_module(f"tfscale.bench.systems.{task.variant.system}")
    run = system.prepare(task)
    run(_WARM_UP_STEPS)
    answer(seconds=time.perf_counter() - started)
    while True:
        steps = orders.get()
        if not steps:
            answer(**run.step_times())
            continue
        started = time.perf_counter()
        run(steps)
        seconds = time.perf_counter() - started
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer(seconds=seconds, peak_bytes=1024 * kilobytes)


def _listen(orders: "queue.Queue[int]") -> None:
    """Hands on the orders; leaves at the end of input, even while TensorFlow waits for others."""
    for line in sys.stdin:
        orders.put(int(line))
    leave(0)


if __name__ == "__main__":
    main(sys.argv[1])
