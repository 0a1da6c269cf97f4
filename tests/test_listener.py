"""What a listener is told, and what becomes of what it says."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import tfscale
from tests.jobs.workers import ROOT, free_addresses, start_all, written
from tfscale.listener import Listener

PAGE = ROOT / "docs" / "your-listeners.md"
NOTES = """
    import json, sys
    import tfscale

    hosts, rank, folder, fails = sys.argv[1].split(","), int(sys.argv[2]), sys.argv[3], sys.argv[4]


    class Notes(tfscale.Listener):
        def __init__(self):
            self.said, self.epochs = [], 0

        def begin(self, job, prepared):
            self.say("begin", job.cluster.num_workers, prepared.model.name)

        def say(self, *words):
            self.said.append(words)

        def at_boundary(self, boundary):
            self.say("boundary", boundary.step, boundary.steps, boundary.logs["loss"])
            self.seconds = boundary.seconds.tolist()

        def at_point(self, point):
            self.say("point", point.loop, point.done, point.steps, point.step)
            if fails == "yes" and rank == 1 and point.step == 4:
                raise RuntimeError("the listener has seen enough")

        def at_epoch_end(self, end):
            self.epochs += 1
            self.say("epoch", end.epoch, end.step, self.epochs, sorted(end.logs))

        def get_state(self):
            return {"epochs": self.epochs}

        def set_state(self, state):
            self.epochs = state["epochs"]

        def report(self):
            return {"noted": len(self.said)}

        def end(self):
            with open(f"{folder}/{rank}.json", "w", encoding="utf-8") as file:
                json.dump(self.said, file)


    config = tfscale.Config(
        run_dir=f"{folder}/run",
        batch_size=64,
        epochs=int(sys.argv[5]),
        steps_per_epoch=4,
        checkpoint_every_steps=2,
        steps_per_execution=2,
        schedule="constant",
        warmup_fraction=0.0,
    )
    cluster = tfscale.Cluster(tuple(hosts), rank) if len(hosts) > 1 else tfscale.Cluster()
    tfscale.train(config, cluster, "datasets/digits.py", "models/mlp.py", listeners=[Notes()])
"""


def test_the_listener_of_the_page_writes_what_the_page_says(tmp_path):
    own, train = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    methods = own[own.index("class") :].split('"""')[-1]
    assert len([line for line in methods.splitlines() if line.strip()]) <= 10
    program = own + train.replace("runs/first", str(tmp_path / "run"))
    (ended,) = start_all([[sys.executable, "-c", program]], deadline_seconds=240)
    assert ended.code == 0, ended.err[-2000:]
    lines = (tmp_path / "run" / "ledger.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["ledger"] == str(tmp_path / "run" / "ledger.txt")
    assert lines[-1].split()[1] == str(report["steps"])


def test_every_method_of_the_protocol_is_on_the_page():
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)\(", row)}
    assert named == {name for name in vars(Listener) if not name.startswith("_")}


def _play(folder, *, workers, epochs, fails="no"):
    program = written(folder / "program.py", NOTES)
    hosts = ",".join(free_addresses(workers)) if workers > 1 else "alone"
    commands = [
        [sys.executable, program, hosts, str(rank), str(folder), fails, str(epochs)]
        for rank in range(workers)
    ]
    ended = start_all(commands, deadline_seconds=240, environ={"PYTHONPATH": str(ROOT)})
    return ended, {
        int(path.stem): json.loads(path.read_text()) for path in folder.glob("[0-9].json")
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two workers, with what their listeners were told."""
    return _play(tmp_path_factory.mktemp("two"), workers=2, epochs=2)


def test_all_workers_are_told_the_same_in_the_same_order(two):
    ended, said = two
    first, second = said[0], said[1]
    assert [worker.code for worker in ended] == [0, 0], ended[0].err[-2000:]
    assert first == second
    assert first[0] == ["begin", 2, "mlp"]
    of_training = [words for words in first if words[0] == "point" and words[1] == "fit"]
    assert [words[2:] for words in of_training] == [
        [done, 4, 4 * epoch + done] for epoch in range(2) for done in (0, 2, 4)
    ]
    kinds = [words[0] for words in first]
    at = kinds.index("boundary")
    assert kinds[at - 1 : at + 2] == ["point", "boundary", "point"]
    assert [words[1:4] for words in first if words[0] == "epoch"] == [[0, 4, 1], [1, 8, 2]]
    assert "val_loss" in next(words for words in first if words[0] == "epoch")[4]
    assert {words[1] for words in first if words[0] == "point"} == {"fit", "validation", "evaluate"}


def test_what_a_listener_raises_ends_all_workers_and_its_state_is_resumed(tmp_path):
    ended, said = _play(tmp_path, workers=2, epochs=2, fails="yes")
    assert all(worker.code not in (0, None) for worker in ended)
    assert all("the listener has seen enough" in worker.err for worker in ended)
    assert said[1][-1][:3] == ["point", "fit", 4]  # and its end was told all the same
    ended, said = _play(tmp_path, workers=1, epochs=2)
    again = said[0]
    assert ended[0].code == 0, ended[0].err[-2000:]
    assert [words[1:4] for words in again if words[0] == "epoch"][-1] == [1, 8, 2]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["steps"], report["starts"], report["noted"]) == (8, 2, len(again))


def test_what_is_no_listener_is_refused_before_anything_begins(tmp_path):
    config = tfscale.Config(run_dir=str(tmp_path / "run"), batch_size=64)
    with pytest.raises(tfscale.ConfigError, match="derived from tfscale.Listener"):
        tfscale.train(config, tfscale.Cluster(), "", "", listeners=[print])
    assert not Path(config.run_dir).exists()


def test_what_a_listener_reports_replaces_nothing_and_is_json(tmp_path):
    class Mine(Listener):
        def report(self):
            return {"steps": -1, "seen": np.float32(0.5), "at": tmp_path, "all": np.arange(3)}

    config = tfscale.Config(run_dir=str(tmp_path / "run"), batch_size=64, steps_per_epoch=2)
    refused = (
        "'steps' of Mine.report is left out: report.json has that already. "
        f"'at' of Mine.report is left out: {type(tmp_path).__name__} is no JSON. Expected JSON"
    )
    with pytest.raises(tfscale.ConfigError, match=re.escape(refused)):
        tfscale.train(
            config, tfscale.Cluster(), "datasets/digits.py", "models/mlp.py", listeners=[Mine()]
        )
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["steps"], report["seen"], report["all"]) == (2, 0.5, [0, 1, 2])
    assert "at" not in report
