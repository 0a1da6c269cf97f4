"""Small trainings from Python: python -m tests.jobs.trainings IN OUT

Each of IN is {"name", "model", "settings"} and may have a "dataset", digits otherwise; its report,
or the reason for which it ended, and what was shown go to OUT as JSON. They share a process with
two devices, which starts in seconds.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import tfscale
from tests.jobs.one_by_one import one_by_one


def _digits():
    """A few digits to train with, and fewer to validate."""
    from datasets import digits as file

    def load(split):
        sizes = {"train": 96, "validation": 32}
        return file.load(split).take(sizes[split])

    return SimpleNamespace(load=load, preprocess=file.preprocess, num_classes=10)


def main(given, out):
    found = {}
    for each in one_by_one(json.loads(Path(given).read_text())):
        shown = []
        settings = {"steps_per_epoch": 3, "batch_size": 32, "devices": 2, **each["settings"]}
        try:
            found[each["name"]] = tfscale.train(
                tfscale.Config(run_dir=str(Path(out).parent / each["name"]), **settings),
                tfscale.Cluster(),
                each.get("dataset") or _digits(),
                each["model"],
                terminal=tfscale.Terminal(shown.append),
            )
        except Exception as error:
            reason, code = tfscale.describe_failure(error)
            traceback.print_exc()
            found[each["name"]] = {"reason": reason, "code": code}
        found[each["name"]]["shown"] = "\n".join(shown)
        Path(out).write_text(json.dumps(found))
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
