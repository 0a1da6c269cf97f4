"""What the environment and hostile names leave behind in real runs: no secret, and nothing is run.

The launcher starts two workers whose run directory is called like a command, with secrets in the
environment; a second run fails, so that a log has its traceback.
"""

import contextlib
import os
import shlex
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.hostile import OBEYED
from tests.jobs.workers import ROOT, start_all
from tfscale.process.printable import printable

pytestmark = [pytest.mark.long, pytest.mark.promise("hostile_words")]

DEADLINE_SECONDS = 180
VARIABLES = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN"),
    *("GOOGLE_API_KEY", "KAGGLE_KEY", "DB_PASSWORD", "SSH_PRIVATE_KEY", "TF_SECRET_TOKEN"),
)
SECRETS = {name: f"planted-{number}-{name.lower()}-9f3" for number, name in enumerate(VARIABLES)}
MODEL = """
    import keras

    text = "a"

    class Scaled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    class Fault(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if text == "fail":
                raise RuntimeError("a fault")

    def build(spec, num_classes):
        return keras.Sequential(
            [keras.Input(spec.shape), keras.layers.Flatten(), Scaled(),
             keras.layers.Dense(num_classes)]
        )

    def callbacks():
        return [Fault()]
"""


def _seen(found, is_over):
    """Notes each secret that stands in any process's arguments, until the runs are over."""
    while not is_over.wait(0.05):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes()
                found.update(name for name, text in SECRETS.items() if text.encode() in words)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Both runs, and in which processes' arguments a secret was seen."""
    folder = tmp_path_factory.mktemp("secrets")
    canary, model = folder / "canary", folder / "network.py"
    model.write_text(textwrap.dedent(MODEL))
    here = f'it\'s $(touch {canary.name}) `touch {canary.name}`; """; <b>|*[x](y)'
    run, failed = folder / here, folder / "failed"
    shared = ["--dataset=datasets/digits.py", f"--model={model}", "--epochs=1"]
    shared += ["--steps_per_epoch=2"]
    good = [*shared, f"--run_dir={run}", f'--model_option=text=$(touch {canary})\x1b[2J\n\'"""']
    bad = [*shared, f"--run_dir={failed}", "--model_option=text=fail"]
    start = [sys.executable, str(ROOT / "launch" / "local.py"), "--workers=2", "--"]
    found, is_over = set(), threading.Event()
    watch = threading.Thread(target=_seen, args=(found, is_over))
    watch.start()
    try:
        runs = start_all(
            [[*start, *good], [*start, *bad]],
            deadline_seconds=DEADLINE_SECONDS,
            environ=SECRETS,
        )
    finally:
        is_over.set()
        watch.join()
    return SimpleNamespace(folder=folder, run=run, failed=failed, runs=runs, in_arguments=found)


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_run_ends_well_and_the_faulty_one_with_its_reason(ended):
    good, bad = ended.runs
    assert good.code == 0, good.out[-3000:] + good.err
    assert bad.code not in (0, None)
    assert "RuntimeError: a fault" in bad.out
    logs = [path.read_text() for path in (ended.failed / "logs").iterdir()]
    assert any("Traceback" in text for text in logs)


def test_no_secret_is_in_a_file_an_output_or_the_arguments_of_a_process(ended):
    files = _files(ended.folder)
    assert {"config.json", "report.json", "worker-1.log", "launch-0.log"} <= {f.name for f in files}
    assert any("tfevents" in path.name for path in files)
    everything = {str(path): path.read_bytes() for path in files}
    everything |= {str(n): (run.out + run.err).encode() for n, run in enumerate(ended.runs)}
    for name, secret in SECRETS.items():
        assert not [where for where, data in everything.items() if secret.encode() in data], name
    assert not ended.in_arguments


def test_nothing_of_the_names_was_run(ended):
    assert not [path for path in ended.folder.rglob("*canary*") if path.name == "canary"]


def test_no_text_has_what_a_terminal_obeys(ended):
    for run in ended.runs:
        assert not OBEYED.search(run.out.encode())
        assert not OBEYED.search(run.err.encode())
    for path in _files(ended.folder):
        if path.suffix in (".log", ".json", ".py"):
            assert not OBEYED.search(path.read_bytes()), path


def test_the_printed_commands_mean_these_files(ended):
    lines = [line.removeprefix("[0] ").strip() for line in ended.runs[0].out.splitlines()]
    curves, model = (
        next(line.removeprefix(start).strip() for line in lines if line.startswith(start))
        for start in ("curves:", "model:")
    )
    assert shlex.split(curves)[-1] == str(ended.run / "tensorboard")
    assert shlex.split(model)[-1] == str(ended.run / "load_model.py")
    done = subprocess.run(
        ["sh", "-c", model],
        cwd=ended.folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Scaled" in done.stdout
    assert not (ended.folder / "canary").exists()
    assert printable(model) == model
