"""What can't be trained ends every worker with one reason, and leaves nothing half-written."""

import contextlib
import json
import re
import subprocess

import pytest

from tests.jobs.workers import ROOT, start_all, worker_commands, written

pytestmark = pytest.mark.promise("mistakes")

DEADLINE_SECONDS = 90
REFUSED = 2  # tfscale.CONFIG_CODE: the same command can't work
DIGITS = """
    import json, os
    import numpy as np
    import tensorflow as tf

    num_classes = 10

    def load(split):
        return numbers(64) if split == "train" else None

    def numbers(size):
        images = np.random.default_rng(0).random((size, 8, 8, 1), dtype=np.float32)
        return tf.data.Dataset.from_tensor_slices((images, np.arange(size) % 10))

    def rank():
        return json.loads(os.environ["TF_CONFIG"])["task"]["index"]
"""


def _flags(folder, *dataset, model="models/mlp.py", run_dir=None):
    """Flags of a small run into RUN_DIR, which is `runs/first` below the folder unless given."""
    path = written(folder / "data.py", *(dataset or (DIGITS,)))
    return [f"--dataset={path}", f"--model={model}", f"--run_dir={run_dir or _run_dir(folder)}"]


def _run_dir(folder):
    return folder / "runs" / "first"


def _reasons(commands, folder, *, is_warm=True, deadline_seconds=DEADLINE_SECONDS, **environ):
    """How the workers ended and the line that each has left of its reason, with a table if any."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    ended = start_all(
        commands,
        deadline_seconds=deadline_seconds,
        environ={"TMPDIR": str(temporary)} | environ,
        is_warm=is_warm,
    )
    lines = []
    for worker in ended:
        own = [line for line in worker.err.splitlines() if " has waited " not in line]
        table = [line for line in own if line.startswith("  ")]
        assert own[1:] == table, (worker.code, own)
        lines.append("\n".join([re.sub(r" \(more in \S+\)$", "", own[0]), *table]))
    return [worker.code for worker in ended], lines


def _shared_reason(commands, folder, *, code=REFUSED, **options):
    """The one line in which all workers say why they ended."""
    codes, lines = _reasons(commands, folder, **options)
    assert codes == [code] * len(commands), lines
    assert len(set(lines)) == 1, lines
    return lines[0]


def _refusal(folder, *flags, **options):
    """The reason for which two workers with these flags end before they have written anything."""
    reason = _shared_reason(worker_commands(flags), folder, **options)
    assert not (folder / "runs").exists()
    return reason


def _files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _assert_nothing_half_written(run_dir, *, report=False):
    """Of a run that had started its logs and curves stay, but no result and no temporary file."""
    names = {path.name for path in run_dir.iterdir()}
    assert not names & ({"model.keras"} if report else {"report.json", "model.keras"})
    assert not [name for name in names if name.startswith(".tmp-")]


def _contains(text, *parts):
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in {text!r}"


# Dataset files.


def test_a_dataset_file_without_load_is_refused(tmp_path):
    reason = _refusal(tmp_path, *_flags(tmp_path, "def read(split): pass\n"))
    _contains(reason, "data.py has no function `load`", "expected `def load(...)`", "It has read")


def test_a_load_that_raises_is_named_with_its_error(tmp_path):
    broken = "def load(split): raise OSError('no such share')\n"
    reason = _refusal(tmp_path, *_flags(tmp_path, broken))
    _contains(reason, "data.py: load('train') raised OSError: no such share")


def test_batches_are_refused_where_single_records_are_expected(tmp_path):
    batches = "def load(split): return numbers(64).batch(8)\n"
    reason = _refusal(tmp_path, *_flags(tmp_path, DIGITS, batches))
    _contains(reason, "yields batches", "expected single records", "Remove .batch(...)")


def test_an_empty_dataset_is_refused(tmp_path):
    empty = "def load(split): return numbers(0)\n"
    reason = _refusal(tmp_path, *_flags(tmp_path, DIGITS, empty))
    _contains(reason, "load('train') is empty", "expected at least one record")


def test_a_table_with_a_column_that_counts_its_rows_is_refused(tmp_path):
    rows = [f"{row},{row * row % 7},{row // 8}" for row in range(16)]
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("\n".join(["id,x,label", *rows, ""]))
    flags = [
        *("--dataset=datasets/csv_table.py", "--model=models/mlp.py", f"--data_dir={tmp_path}"),
        *(f"--run_dir={_run_dir(tmp_path)}", "--batch_size=4"),
    ]
    reason = _refusal(tmp_path, *flags)
    _contains(reason, "train.csv: id counts the rows (0, 1, 2, ...); expected features that")
    _contains(reason, "--dataset_option=exclude=id", "--dataset_option=features=id,x")


RAGGED = """
    def preprocess(record, training):
        image, label = record
        return tf.zeros(tf.where(label == 9, [9, 8, 1], [8, 8, 1])), label
"""


def test_examples_of_different_shapes_end_every_worker(tmp_path):
    commands = worker_commands(_flags(tmp_path, DIGITS, RAGGED))
    reason = _shared_reason(commands, tmp_path)
    _contains(reason, "gives examples whose shapes differ: the first one has (8, 8, 1)", "9, 8, 1")
    _contains(reason, "expected the same shape for all. Resize or pad in preprocess.")
    assert "InvalidArgumentError: Graph execution error" not in reason
    _assert_nothing_half_written(_run_dir(tmp_path))


def test_workers_with_different_numbers_of_records_are_refused(tmp_path):
    # Each would take as many steps an epoch as it has records for, and wait for the others.
    different = "def load(split): return numbers(64 * (1 + rank())) if split == 'train' else None\n"
    commands = worker_commands([*_flags(tmp_path, DIGITS, different), "--epochs=2"])
    reason = _shared_reason(commands, tmp_path, deadline_seconds=45)
    _contains(reason, "differ in 2 things", "expected the same")
    _contains(" ".join(reason.split()), "records of load('train') 0 64 1 128")


def test_workers_that_list_the_same_records_in_another_order_are_refused(tmp_path):
    # As os.listdir may: some examples would be seen twice and others never.
    other_order = """
    def load(split):
        names = [f"{number}.jpg" for number in range(64)]
        return tf.data.Dataset.from_tensor_slices((names[:: 1 - 2 * rank()], [0] * 64))

    def preprocess(record, training):
        return tf.zeros([8, 8, 1]), record[1]
    """
    reason = _shared_reason(worker_commands(_flags(tmp_path, DIGITS, other_order)), tmp_path)
    _contains(reason, "records of load('train'), or their order", "expected the same")


# Batch and model.


def test_a_batch_that_the_replicas_cannot_share_is_refused(tmp_path):
    reason = _refusal(tmp_path, *_flags(tmp_path), "--batch_size=33")
    _contains(reason, "--batch_size=33 cannot be split over 2 replicas", "--batch_size=34")


def test_fewer_examples_than_replicas_are_refused(tmp_path):
    single = "def load(split): return numbers(1)\n"
    reason = _refusal(tmp_path, *_flags(tmp_path, DIGITS, single), "--batch_size=2")
    _contains(reason, "has 1 examples, fewer than the 2 of one step on 2 replicas", "Use at most 1")


def test_a_model_whose_output_does_not_fit_the_labels_is_refused(tmp_path):
    model = """
        import keras

        def build(spec):
            flat = [keras.Input(spec.shape), keras.layers.Flatten()]
            return keras.Sequential([*flat, keras.layers.Dense(3)])
    """
    model = written(tmp_path / "three.py", model)
    reason = _refusal(tmp_path, *_flags(tmp_path, model=model))
    _contains(reason, "The model gives 3 outputs", "num_classes = 10", "Use num_classes in build.")


def test_a_model_that_raises_in_build_is_named_with_its_error(tmp_path):
    model = written(
        tmp_path / "broken.py", "def build(spec): raise RuntimeError('no such layer')\n"
    )
    reason = _refusal(tmp_path, *_flags(tmp_path, model=model))
    _contains(reason, "broken.py: build raised RuntimeError: no such layer")


# One worker only.


@pytest.mark.parametrize("rank", [0, 1])
def test_a_failure_on_one_worker_before_the_first_step_ends_the_other(tmp_path, rank):
    broken = f"""
        def load(split):
            if rank() == {rank}:
                raise OSError("no such share on this node")
            return numbers(64)
    """
    reason = _refusal(tmp_path, *_flags(tmp_path, DIGITS, broken))
    _contains(reason, "load('train') raised OSError: no such share on this node")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_failure_on_one_worker_within_a_step_ends_the_other(tmp_path, rank):
    # The other worker waits for gradients meanwhile, which nothing interrupts.
    broken = f"""
        def preprocess(record, training):
            image, label = record
            if rank() == {rank}:
                tf.debugging.assert_less(label, tf.constant(9, label.dtype), "a bad label here")
            return image, label
    """
    commands = worker_commands(_flags(tmp_path, DIGITS, broken))
    reason = _shared_reason(commands, tmp_path)
    _contains(reason, "load('train')", "record ", "a bad label here", "--max_bad_examples")
    _assert_nothing_half_written(_run_dir(tmp_path))


EMBEDDING = """
    import keras

    def build(spec, num_classes):
        lookup = keras.layers.Embedding(50, 4)
        flat = [keras.Input(spec.shape, dtype="int32"), lookup, keras.layers.Flatten()]
        return keras.Sequential([*flat, keras.layers.Dense(num_classes)])
"""


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_id_that_an_embedding_has_not_is_told_by_its_cause(tmp_path, split):
    data = f"""
        num_classes = 2

        def load(split):
            ids = np.arange(512) % 50
            ids[300] = 77 if split == {split!r} else 7
            return tf.data.Dataset.from_tensor_slices((ids[:, None], np.arange(512) % 2))
    """
    model = written(tmp_path / "embedding.py", EMBEDDING)
    commands = worker_commands(_flags(tmp_path, DIGITS, data, model=model))
    reason = _shared_reason(commands, tmp_path)
    _contains(reason, f"the model can't take an example of {split!r}", "= 77 is not in [0, 50) (in")
    _assert_nothing_half_written(_run_dir(tmp_path))


def test_texts_for_an_embedding_are_refused(tmp_path):
    data = """
        num_classes = 2

        def load(split):
            words = np.array(["a", "b"] * 64)[:, None]
            return tf.data.Dataset.from_tensor_slices((words, np.arange(128) % 2))
    """
    model = written(tmp_path / "embedding.py", EMBEDDING)
    reason = _refusal(tmp_path, *_flags(tmp_path, DIGITS, data, model=model))
    _contains(reason, "The model doesn't fit the data: it takes", "int32, and 1 texts come")


def test_a_pixel_that_has_no_class_is_refused(tmp_path):
    data = """
        num_classes = 3

        def load(split):
            classes = np.arange(64 * 64).reshape(64, 8, 8) % 3
            classes[3, 0, 0] = 255
            images = np.zeros((64, 8, 8, 3), np.float32)
            return tf.data.Dataset.from_tensor_slices((images, classes))
    """
    model = """
        import keras

        def build(spec, num_classes):
            return keras.Sequential([keras.Input(spec.shape), keras.layers.Conv2D(num_classes, 1)])
    """
    model = written(tmp_path / "pixels.py", model)
    reason = _refusal(tmp_path, *_flags(tmp_path, DIGITS, data, model=model))
    _contains(reason, "gives the label 255; expected whole numbers of 0 to 2", "void = y == 255")


def test_workers_with_different_flags_are_named_with_their_values(tmp_path):
    first, second = worker_commands(_flags(tmp_path))
    reason = _shared_reason([first, [*second, "--batch_size=32"]], tmp_path)
    _contains(reason, "differ in --batch_size (worker 0: 64, worker 1: 32)", "expected the same")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("devices", [(2, 1), (1, 2)])
def test_workers_with_different_numbers_of_devices_are_named(tmp_path, devices):
    commands = [
        [*command, f"--devices={count}"]
        for command, count in zip(worker_commands(_flags(tmp_path)), devices, strict=True)
    ]
    reason = _shared_reason(commands, tmp_path)
    # The flag, and what came of it.
    for name in ("number of devices", "--devices"):
        _contains(" ".join(reason.split()), f"{name} 0 {devices[0]} 1 {devices[1]}")
    assert not (tmp_path / "runs").exists()


# The run directory.


def test_a_directory_that_holds_another_run_is_refused_and_stays_as_it_is(tmp_path):
    earlier = _run_dir(tmp_path)
    (earlier / "tensorboard").mkdir(parents=True)
    for name in ("report.json", "model.keras", "tensorboard/events"):
        (earlier / name).write_text(f"an earlier {name}")
    before = _files(earlier)
    reason = _shared_reason(worker_commands(_flags(tmp_path)), tmp_path)
    _contains(reason, "holds another run (report.json, model.keras, tensorboard)", "--overwrite")
    assert _files(earlier) == before


@pytest.mark.parametrize("run_dir", ["gs://box/run", "hdfs://node/box/run"])
def test_a_directory_in_a_remote_store_is_refused(tmp_path, run_dir):
    reason = _refusal(tmp_path, *_flags(tmp_path, run_dir=run_dir))
    _contains(reason, f"--run_dir={run_dir} is in a remote store", "Use a local one", "mount")
    assert not (ROOT / run_dir.partition("/")[0]).exists()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    # Below a file nobody may make a folder, not even root.
    (tmp_path / "file").write_text("not a folder")
    run_dir = tmp_path / "file" / "runs"
    reason = _refusal(tmp_path, *_flags(tmp_path, run_dir=run_dir))
    _contains(reason, f"--run_dir={run_dir} can't be written to (File exists", "Use another")
    assert (tmp_path / "file").read_text() == "not a folder"


@contextlib.contextmanager
def _disk(folder, size):
    """A file system of its own with little space, at `folder` while the context lasts."""
    folder.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    try:
        yield folder
    finally:
        # Lazily, so that it goes even if something below it is still open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def test_a_disk_without_room_for_the_run_is_refused(tmp_path):
    with _disk(tmp_path / "disk", "1m") as disk:
        reason = _refusal(tmp_path, *_flags(tmp_path, run_dir=disk / "runs" / "first"))
        assert not list(disk.iterdir())
    _contains(reason, "has 1 MiB of space left; expected at least 17 MiB", "Make room")


def test_a_disk_that_fills_up_within_the_run_ends_every_worker(tmp_path):
    fills_up = """
        from models.mlp import build
        import keras

        def fill(epoch, logs):
            with open(DISK + "/filler", "ab", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(2**16))
                except OSError:
                    pass

        def callbacks():
            return [keras.callbacks.LambdaCallback(on_epoch_end=fill)]
    """
    with _disk(tmp_path / "disk", "20m") as disk:
        model = written(tmp_path / "fills.py", fills_up, f"DISK = {str(disk)!r}\n")
        run_dir = disk / "first"
        commands = worker_commands(_flags(tmp_path, model=model, run_dir=run_dir))
        codes, lines = _reasons(commands, tmp_path)
        # The report is small: there may be room for it where there is none for the model.
        _assert_nothing_half_written(run_dir, report=True)
    assert codes[0] == codes[1] != 0
    assert lines[0] == lines[1]
    _contains(lines[0], "No space left on device", "Make room")


def test_a_refused_run_leaves_no_temporary_files(tmp_path):
    _refusal(tmp_path, *_flags(tmp_path), "--batch_size=33")
    assert not list((tmp_path / "temporary").iterdir())


# The environment: refused before TensorFlow is imported, by each worker for itself.


def test_another_keras_backend_is_refused(tmp_path):
    reason = _refusal(tmp_path, *_flags(tmp_path), is_warm=False, KERAS_BACKEND="jax")
    _contains(reason, "KERAS_BACKEND=jax is set; expected tensorflow", "unset KERAS_BACKEND")


def test_keras_2_in_the_place_of_keras_3_is_refused(tmp_path):
    reason = _refusal(tmp_path, *_flags(tmp_path), is_warm=False, TF_USE_LEGACY_KERAS="1")
    _contains(reason, "TF_USE_LEGACY_KERAS=1 is set", "unset TF_USE_LEGACY_KERAS")


def _tf_config(roles, task_type="worker"):
    return json.dumps({"cluster": roles, "task": {"type": task_type, "index": 0}})


def test_a_role_in_tf_config_that_does_not_train_is_refused(tmp_path):
    config = _tf_config({"worker": ["a:1"], "ps": ["b:1"]}, "ps")
    # Without --hosts and --index, which stand at the end.
    commands = [command[:-2] for command in worker_commands(_flags(tmp_path))]
    reason = _shared_reason(commands, tmp_path, is_warm=False, TF_CONFIG=config)
    _contains(reason, "TF_CONFIG has the role 'ps'", "expected the roles worker and chief only")
    assert not (tmp_path / "runs").exists()


def test_hosts_that_contradict_tf_config_are_refused_with_both(tmp_path):
    config = _tf_config({"worker": ["a:1", "b:1"]})
    commands = worker_commands(_flags(tmp_path))
    codes, lines = _reasons(commands, tmp_path, is_warm=False, TF_CONFIG=config)
    assert codes == [REFUSED, REFUSED]
    for command, line in zip(commands, lines, strict=True):
        # The reason ends with the worker's own flags, so that here the lines differ in the index.
        flags = " ".join(command[-2:])
        _contains(line, "TF_CONFIG says --hosts=a:1,b:1 --index=0", f"the flags say {flags}")
        _contains(line, "expected the same from both", "`unset TF_CONFIG`")
    assert not (tmp_path / "runs").exists()
