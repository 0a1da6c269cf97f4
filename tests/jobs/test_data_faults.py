"""Bad data ends all workers with its place, or is skipped alike on any number of them."""

import json
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.jobs.workers import start_all, worker_commands, written
from tfscale.checkpoints.export import ARRAYS
from tfscale.data.formats import tf_example
from tools.prepare import shard_writers

pytestmark = [pytest.mark.long, pytest.mark.promise("bad_records")]

DEADLINE_SECONDS = 120
SIZE, EVALUATED, BATCH = 48, 12, 8
BIT, PICTURE, LABEL = 20, 29, 41  # numbers of bad records, none among the first ones
MEAN, CLASSES = 2, 3
MODEL = """
    import keras
    from keras import layers

    def build(spec, num_classes):
        flat = [keras.Input(spec.shape), layers.Flatten()]
        return keras.Sequential([*flat, layers.Dense(num_classes)])
"""
LINE = """
    import keras

    def build(spec):
        return keras.Sequential([keras.Input(spec.shape), keras.layers.Dense(1)])
"""


def _flags(folder, dataset, run_dir, *more, model=MODEL):
    """Flags of a training whose rate has no schedule, so that only its data decides."""
    return [
        f"--dataset={dataset}",
        f"--model={written(folder / 'model.py', model)}",
        f"--run_dir={run_dir}",
        *(f"--batch_size={BATCH}", "--epochs=2", "--learning_rate=0.1", "--base_batch_size=8"),
        *("--momentum=0", "--weight_decay=0", "--schedule=constant", "--warmup_fraction=0"),
        *more,
    ]


def _ended(commands, folder):
    """How workers ended, and what each said in its last line."""
    environ = {"TMPDIR": str(folder)}
    ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS, environ=environ, is_warm=True)
    said = [
        [line for line in worker.err.splitlines() if " has waited " not in line] for worker in ended
    ]
    return [worker.code for worker in ended], said


def _shared_reason(flags, folder, run_dir, *, keeps_weights=False, num_workers=2):
    """Why workers end, in the one line that all of them say; nothing half-written stays."""
    codes, said = _ended(worker_commands(flags, num_workers=num_workers), folder)
    assert codes == [2] * num_workers, said
    lines = {line.partition(" (more in ")[0] for lines in said for line in lines}
    assert len(lines) == 1, said
    names = {path.name for path in run_dir.iterdir()} if run_dir.exists() else set()
    assert names & {"report.json", "model.keras", ARRAYS} == ({ARRAYS} if keeps_weights else set())
    assert not [name for name in names if name.startswith(".tmp-")]
    return lines.pop()


def _both(make_flags, folder, run_dir):
    """Report and weights of one worker, and of two, which train at the same time."""
    shapes = (1, 2)
    dirs = {workers: run_dir.with_name(f"{run_dir.name}-{workers}") for workers in shapes}
    commands = [
        command
        for workers in shapes
        for command in worker_commands(make_flags(dirs[workers]), num_workers=workers)
    ]
    codes, said = _ended(commands, folder)
    assert codes == [0, 0, 0], said
    return [_result(dirs[workers]) for workers in shapes]


def _result(run_dir):
    report = json.loads((run_dir / "report.json").read_text())
    return report, keras.models.load_model(run_dir / "model.keras").get_weights()


def _are_alike(alone, together):
    assert together[0]["metrics"] == pytest.approx(alone[0]["metrics"], abs=1e-6)
    for found, expected in zip(together[1], alone[1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def _picture(number):
    """A JPEG with something to learn: as bright as its class."""
    random = np.random.default_rng(number)
    pixels = random.integers(0, 80, (12, 10, 3)) + 80 * (number % CLASSES)
    return tf.io.encode_jpeg(tf.cast(pixels, tf.uint8)).numpy()


def _example(number, bad):
    picture, label = _picture(number), number % CLASSES
    if bad:
        picture = b"no picture" if number == PICTURE else picture
        label = CLASSES + 4 if number == LABEL else label
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _tfrecords(folder, bad):
    """Two shards to train with, and one to validate; `bad` are the numbers of bad records.

    Returns:
        "path, byte offset" of each record to train with.
    """
    folder.mkdir()
    features = {"image": {"dtype": "string", "shape": []}, "label": {"dtype": "int64", "shape": []}}
    (folder / tf_example.NAME).write_text(json.dumps(features))
    places = []
    for shard, numbers in enumerate((range(SIZE // 2), range(SIZE // 2, SIZE))):
        path, offset = folder / f"train-{shard}.tfrecord", 0
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in numbers:
                record = _example(number, number in bad)
                writer.write(record)
                places.append((path, offset))
                offset += 16 + len(record)
    if BIT in bad:
        path, offset = places[BIT]
        data = bytearray(path.read_bytes())
        data[offset + 60] ^= 4
        path.write_bytes(data)
    with tf.io.TFRecordWriter(str(folder / "validation.tfrecord")) as writer:
        for number in range(EVALUATED):
            # In an evaluation too: the picture of one is none.
            is_bad = bad and number == 7
            writer.write(_example(PICTURE if is_bad else number, is_bad))
    return [f"{path}, byte {offset:,}" for path, offset in places]


def _of_tfrecords(folder, data, run_dir, *more):
    options = ("size=8,8", f"num_classes={CLASSES}")
    flags = (f"--data_dir={data}", *(f"--dataset_option={option}" for option in options))
    return _flags(folder, "datasets/record_files.py", run_dir, *flags, *more)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (BIT, "the record is damaged, its checksum doesn't fit"),
        (LABEL, f"gives the label {CLASSES + 4} at record {LABEL} ; expected a whole number"),
    ],
    ids=["bit", "label"],
)
def test_a_bad_record_ends_all_workers_with_its_file_and_byte(tmp_path, number, words):
    places = _tfrecords(tmp_path / "data", {number})
    run_dir = tmp_path / "run"
    flags = _of_tfrecords(tmp_path, tmp_path / "data", run_dir)
    reason = _shared_reason(flags, tmp_path, run_dir)
    assert f"load('train'): {places[number]}" in reason
    assert words in reason
    assert reason.endswith("skip it and up to N others with --max_bad_examples=N.")


def test_bad_records_that_may_be_skipped_are_told_of_and_change_nothing_else(tmp_path):
    places = _tfrecords(tmp_path / "data", {BIT, PICTURE, LABEL})

    def flags(run_dir):
        return _of_tfrecords(tmp_path, tmp_path / "data", run_dir, "--max_bad_examples=3")

    alone, together = _both(flags, tmp_path, tmp_path / "run")
    _are_alike(alone, together)
    for report, _ in (alone, together):
        told = report["bad_examples"]
        assert told["train"] == {
            "count": 3,
            "records": [places[number] for number in (BIT, PICTURE, LABEL)],
        }
        assert told["validation"]["count"] == 1
        assert "validation.tfrecord, byte " in told["validation"]["records"][0]


def test_more_bad_records_than_may_be_skipped_end_all_workers(tmp_path):
    places = _tfrecords(tmp_path / "data", {BIT, PICTURE, LABEL})
    run_dir = tmp_path / "run"
    flags = _of_tfrecords(tmp_path, tmp_path / "data", run_dir, "--max_bad_examples=2")
    # They know it at the end of an epoch, of which the weights are whole.
    reason = _shared_reason(flags, tmp_path, run_dir, keeps_weights=True)
    assert f"The weights after step {SIZE // BATCH} are in " in reason
    assert "load('train') has 3 bad records and perhaps more, such as " in reason
    assert places[LABEL] in reason
    assert "expected at most --max_bad_examples=2. Mend the data, or allow more." in reason


STEPS_OF_A_LOOP = """
    import tensorflow as tf

    shuffle = False
    task = "regression"

    def load(split):
        return tf.data.Dataset.range(320)

    def preprocess(record, training):
        valid = tf.debugging.Assert(record != (250 if training else 9), ["nobody can read it"])
        with tf.control_dependencies([valid]):
            return tf.ones([3]), tf.ones([1])
"""


def test_weights_of_the_midst_of_a_loop_are_not_told_to_be_those_of_a_step(tmp_path):
    dataset, run_dir = written(tmp_path / "data.py", STEPS_OF_A_LOOP), tmp_path / "run"
    flags = _flags(tmp_path, dataset, run_dir, "--steps_per_execution=20", model=LINE)
    reason = _shared_reason(flags, tmp_path, run_dir, num_workers=1)
    assert "data.py: load('train'): record 250: nobody can read it. Mend it" in reason
    assert "The weights after step" not in reason


def test_a_bad_record_of_an_evaluation_ends_all_workers_with_its_split(tmp_path):
    dataset, run_dir = written(tmp_path / "data.py", STEPS_OF_A_LOOP), tmp_path / "run"
    flags = _flags(tmp_path, dataset, run_dir, "--steps_per_epoch=4", "--epochs=1", model=LINE)
    reason = _shared_reason(flags, tmp_path, run_dir)
    assert "data.py: load('validation'): record 9: nobody can read it. Mend it" in reason


# The chief removes a shard, or cuts it, after the first step; what was read ahead stays good.
VANISHING = """
    import os
    import tensorflow as tf
    from tfscale.data.formats import tfrecord

    shuffle = False
    splits = ("train",)
    task = "regression"

    def load(split, data_dir):
        return tfrecord.records(os.path.join(data_dir, "*.tfrecord"))

    def preprocess(record, training):
        numbers = tf.io.decode_raw(tf.strings.substr(record, 0, 4), tf.uint8)
        return tf.ensure_shape(tf.cast(numbers, tf.float32) / 255.0, [4]), 1.0
"""
REMOVER = """
    import os
    import keras

    class Remover(keras.callbacks.Callback):
        every_batch = False

        def on_train_batch_end(self, batch, logs=None):
            if os.path.exists(SHARD):
                os.remove(SHARD)

    def callbacks():
        return [Remover()]

    def build(spec):
        return keras.Sequential([keras.Input(spec.shape), keras.layers.Dense(1)])
"""


def test_a_shard_that_vanishes_within_a_training_ends_all_workers_with_its_name(tmp_path):
    data, random = tmp_path / "data", np.random.default_rng(0)
    data.mkdir()
    for number, count in enumerate((2000, 80)):
        records = (random.bytes(5000) for _ in range(count))
        shard_writers.write_tfrecord(data / f"{number}.tfrecord", records)
    last, run_dir = data / "1.tfrecord", tmp_path / "run"
    dataset = written(tmp_path / "data.py", VANISHING)
    model = f"SHARD = {str(last)!r}\n" + textwrap.dedent(REMOVER)
    flags = _flags(tmp_path, dataset, run_dir, f"--data_dir={data}", model=model)
    reason = _shared_reason(flags, tmp_path, run_dir)
    assert f"load('train'): {last}, byte " in reason
    assert reason.count(str(last)) == 1
    assert "the file can't be opened any more (No such file or directory)" in reason
    assert "The weights after step" not in reason


def _image_folders(folder, bad=()):
    """Images in class folders, of which some are empty files or no images; by their paths."""
    for split, count in (("train", SIZE), ("validation", EVALUATED)):
        for number in range(count):
            path = folder / split / f"class {number % CLASSES}" / f"{number:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_picture(number))
    paths = sorted((folder / "train").rglob("*.jpg"))
    for number in bad:
        whole = paths[number].read_bytes()
        paths[number].write_bytes(whole[: len(whole) // 2 if number % 2 else 0])
    return [str(path) for path in paths]


def _of_folders(folder, data, run_dir, *more):
    options = ("size=8,8", f"num_classes={CLASSES}")
    flags = (f"--data_dir={data}", *(f"--dataset_option={option}" for option in options))
    return _flags(folder, "datasets/image_folder.py", run_dir, *flags, *more)


def test_a_corrupt_image_of_a_folder_ends_all_workers_with_its_path(tmp_path):
    paths = _image_folders(tmp_path / "data", [31])
    run_dir = tmp_path / "run"
    reason = _shared_reason(_of_folders(tmp_path, tmp_path / "data", run_dir), tmp_path, run_dir)
    assert f"load('train'): {paths[31]}: " in reason
    assert "JPEG" in reason


def test_corrupt_images_that_may_be_skipped_are_named_by_their_paths(tmp_path):
    paths = _image_folders(tmp_path / "data", [18, 31])

    def flags(run_dir):
        return _of_folders(tmp_path, tmp_path / "data", run_dir, "--max_bad_examples=2")

    alone, together = _both(flags, tmp_path, tmp_path / "run")
    _are_alike(alone, together)
    for report, _ in (alone, together):
        assert report["bad_examples"] == {"train": {"count": 2, "records": [paths[18], paths[31]]}}


def test_a_shuffle_without_a_seed_is_refused_on_all_workers(tmp_path):
    shuffled = "def load(split): return tf.data.Dataset.range(320).shuffle(320)\n"
    dataset, run_dir = written(tmp_path / "data.py", STEPS_OF_A_LOOP, shuffled), tmp_path / "run"
    reason = _shared_reason(_flags(tmp_path, dataset, run_dir, model=LINE), tmp_path, run_dir)
    assert "data.py: load('train') shuffles without a seed" in reason
    assert not run_dir.exists()
