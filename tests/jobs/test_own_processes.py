"""What a user's files do to the process that runs them: pools of others, another current folder."""

import json
import os
import shlex
import subprocess
import sys
import textwrap

import pytest

from tests.jobs.workers import start_all, worker_commands

pytestmark = pytest.mark.long

DEADLINE_SECONDS = 150
# TensorFlow is imported where it is needed: a process of the pool starts in a second without it.
POOLS = """
    import concurrent.futures, multiprocessing, os, subprocess, sys

    import numpy as np

    num_classes = 10
    processes = False
    shift = 0

    def example(number):
        pixels = np.random.default_rng(number).random((8, 8, 1), dtype=np.float32)
        return pixels, (number + shift) % 10

    def in_processes(numbers):
        with multiprocessing.get_context("fork").Pool(2) as pool:  # ends them with SIGTERM
            yield pool.map(example, numbers)
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            yield pool.map(example, numbers)
        fork = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(2, fork) as executor:
            yield list(executor.map(example, numbers))
        program = "import sys; print(*(int(one) % 10 for one in sys.argv[1:]))"
        words = [sys.executable, "-c", program, *(str(number + shift) for number in numbers)]
        labels = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
        yield [(example(number)[0], int(label)) for number, label in zip(numbers, labels)]
        if not os.fork():
            sys.exit("a fork that only ends")
        os.wait()

    def load(split):
        import tensorflow as tf

        global left
        if split != "train":
            return None
        numbers = range(64)
        made = [example(number) for number in numbers]
        for found in in_processes(numbers) if processes else ():
            np.testing.assert_equal(found, made)
        if processes:  # waits for work until the run ends
            fork = multiprocessing.get_context("fork")
            left = concurrent.futures.ProcessPoolExecutor(1, fork)
            np.testing.assert_equal(left.submit(example, 0).result(), made[0])
        images, labels = zip(*made)
        return tf.data.Dataset.from_tensor_slices((np.stack(images), np.array(labels)))
"""


def _ends_well(flags, **more):
    ended = start_all(worker_commands(flags), deadline_seconds=DEADLINE_SECONDS, **more)
    for worker in ended:
        assert worker.code == 0, worker.err[-3000:]
    return ended


@pytest.mark.promise("processes")
def test_pools_of_processes_change_nothing_about_a_training(tmp_path):
    path = tmp_path / "random.py"  # also a module of Python's, which stays that
    path.write_text(textwrap.dedent(POOLS))
    digests = []
    for processes in ("true", "false"):
        run_dir = tmp_path / processes
        _ends_well(
            [
                *(f"--dataset={path}", "--model=models/mlp.py", f"--run_dir={run_dir}"),
                *(f"--dataset_option=processes={processes}", "--dataset_option=shift=3"),
                *("--batch_size=32", "--keep_checkpoints=0"),
            ],
            is_warm=processes == "false",
        )
        digests.append(json.loads((run_dir / "report.json").read_text())["weights_sha256"])
        for log in (run_dir / "logs").iterdir():
            assert ("a fork that only ends" in log.read_text()) == (processes == "true")
    assert digests[0] == digests[1]


MOVES = """
    import os
    import numpy as np
    import tensorflow as tf

    num_classes = 10
    os.chdir({elsewhere!r})

    def load(split, data_dir):
        os.chdir(data_dir)
        images = np.load("images.npy")  # as everywhere in Python, from the current folder
        return tf.data.Dataset.from_tensor_slices((images, np.arange(len(images)) % 10))
"""
OWN_LAYER = """
    import os
    import keras

    os.chdir({elsewhere!r})

    class Own(keras.layers.Dense):
        pass

    class Moves(keras.callbacks.Callback):
        everywhere = True

        def on_epoch_end(self, epoch, logs=None):
            os.chdir("/")

    def callbacks():
        return [Moves()]

    def build(spec, num_classes):
        os.chdir({elsewhere!r})
        return keras.Sequential(
            [keras.Input(spec.shape), keras.layers.Flatten(), Own(num_classes)]
        )
"""


def test_a_file_that_changes_the_folder_moves_nothing_of_the_run(tmp_path):
    """Each worker in a folder of its own, as on nodes that share nothing."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    commands = worker_commands(
        [
            *("--dataset=data.py", "--model=./model.py", "--run_dir=runs/first", "--cache=cached"),
            *("--batch_size=32", "--epochs=2", "--checkpoint_every_steps=1"),
        ]
    )
    for index, command in enumerate(commands):
        node = tmp_path / f"node-{index}"
        (node / "data").mkdir(parents=True)
        write = "import numpy; numpy.save('images.npy', numpy.ones((64, 8, 8, 1), 'float32'))"
        subprocess.run([sys.executable, "-c", write], cwd=node / "data", check=True)
        for name, text in (("data.py", MOVES), ("model.py", OWN_LAYER)):
            (node / name).write_text(textwrap.dedent(text).format(elsewhere=str(elsewhere)))
        commands[index] = ["env", "-C", str(node), *command]
    ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS, is_warm=True)
    for worker in ended:
        assert worker.code == 0, worker.err[-3000:]
    nodes = [tmp_path / f"node-{index}" for index in range(2)]
    for index, node in enumerate(nodes):
        assert (node / "runs" / "first" / "logs" / f"worker-{index}.log").is_file()
        assert (node / "cached").is_dir()
        assert sorted(os.listdir(node / "data")) == ["images.npy"]
    assert list(elsewhere.iterdir()) == []
    run_dir = nodes[0] / "runs" / "first"
    for name in ("report.json", "config.json", "model.keras", "tensorboard", "checkpoints"):
        assert (run_dir / name).exists()
    assert str(run_dir) in ended[0].out
    (command,) = (
        line.partition("model:")[2] for line in ended[0].out.splitlines() if "  model:  " in line
    )
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    shown = subprocess.run(
        shlex.split(command), capture_output=True, text=True, timeout=90, cwd="/", env=environ
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert "Total params" in shown.stdout
    (curves,) = (line for line in ended[0].out.splitlines() if "  curves:  " in line)
    program, _, folder = shlex.split(curves.partition("curves:")[2])
    assert os.path.isabs(program) and folder == str(run_dir / "tensorboard")
