"""What a preparation leaves; its shards are written in this process, one after the other."""

import pytest
import tensorflow as tf
from filelock import FileLock

from tfscale.data.formats import prepared
from tfscale.errors import ConfigError
from tfscale.files import manifest
from tools.prepare import preparation as module
from tools.prepare.preparation import Layout, prepare
from tools.prepare.shards import Assignment, part_of, write_share
from tools.prepare.split_records import Asked

SOURCE = """
import tensorflow as tf
size = 10
def load(split):
    return tf.data.Dataset.range(size).map(lambda n: {"n": n, "text": tf.strings.as_string(n)})
"""
LAYOUT = Layout(num_shards=3)


class _Writing:
    """Writes in this process, and notes which shards; fails at one if it is told so."""

    def __init__(self):
        self.names = []
        self.fails_at = ""

    def __call__(self, whole, processes, tell):
        for each in whole.ranges:
            if each.path.name == self.fails_at:
                raise KeyboardInterrupt
            self.names.append(each.path.name)
            write_share(Assignment(whole.asked, whole.format, [each]), tell)


@pytest.fixture
def writing(monkeypatch):
    writes = _Writing()
    monkeypatch.setattr(module, "write_shards", writes)
    return writes


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    return Asked(str(tmp_path / "mine.py"), "train")


def _quiet(done, total):
    pass


def _numbers(folder):
    records = prepared.records(folder)
    (parse,) = records.functions
    texts = records.read(tf.range(records.num_records, dtype=tf.int64))
    return [int(parse(text)["n"]) for text in texts]


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
def test_shards_hold_every_record_in_order_and_differ_by_at_most_one(
    tmp_path, writing, asked, kind
):
    told = []
    out = tmp_path / "out"
    layout = Layout(format=kind, num_shards=3)
    made = prepare(asked, layout, out, lambda *numbers: told.append(numbers))
    assert list(made.files) == [f"train-{number:05}-of-00003.{kind}" for number in range(3)]
    assert [shard.records for shard in made.files.values()] == [3, 3, 4]
    assert _numbers(out) == list(range(10))
    assert manifest.verify(out, hashes=True) == made
    assert told == [(0, 10), (3, 10), (6, 10), (10, 10)]
    beside = {f"{name}.idx" for name in made.files} if kind == "tfrecord" else set()
    assert set(_names(out)) == {*made.files, *beside, "manifest.json", ".tfscale-prepare-lock"}


def test_a_finished_preparation_is_only_looked_through(tmp_path, writing, asked):
    first = prepare(asked, LAYOUT, tmp_path / "out", _quiet)
    writing.names.clear()
    assert prepare(asked, LAYOUT, tmp_path / "out", _quiet) == first
    assert writing.names == []


def test_a_finished_preparation_that_was_damaged_is_refused(tmp_path, writing, asked):
    made = prepare(asked, LAYOUT, tmp_path / "out", _quiet)
    path = tmp_path / "out" / list(made.files)[1]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ConfigError, match="train-00001-of-00003.tfrecord has SHA-256"):
        prepare(asked, LAYOUT, tmp_path / "out", _quiet)


def test_what_was_stopped_goes_on_with_what_is_missing(tmp_path, writing, asked):
    out = tmp_path / "out"
    writing.fails_at = "train-00002-of-00003.tfrecord"
    with pytest.raises(KeyboardInterrupt):
        prepare(asked, LAYOUT, out, _quiet)
    assert not (out / "manifest.json").exists()
    # A kill in the middle of a file leaves it under another name.
    (out / ".tmp-1-train-00002-of-00003.tfrecord").write_text("half")
    writing.fails_at = ""
    writing.names.clear()
    told = []
    prepare(asked, LAYOUT, out, lambda *numbers: told.append(numbers))
    assert writing.names == ["train-00002-of-00003.tfrecord"]
    assert told == [(6, 10), (10, 10)]
    assert _numbers(out) == list(range(10))
    assert not [name for name in _names(out) if name.startswith((".tmp", ".train"))]


def test_a_shard_that_is_not_what_was_written_is_written_again(tmp_path, writing, asked):
    out = tmp_path / "out"
    writing.fails_at = "train-00002-of-00003.tfrecord"
    with pytest.raises(KeyboardInterrupt):
        prepare(asked, LAYOUT, out, _quiet)
    (out / "train-00000-of-00003.tfrecord").write_text("other")
    part_of(out / "train-00001-of-00003.tfrecord").write_text("{")
    writing.fails_at = ""
    writing.names.clear()
    prepare(asked, LAYOUT, out, _quiet)
    assert len(writing.names) == 3
    assert _numbers(out) == list(range(10))


@pytest.mark.parametrize("is_finished", [True, False])
def test_another_preparation_is_not_mixed_with_it(tmp_path, writing, asked, is_finished):
    out = tmp_path / "out"
    if is_finished:
        prepare(asked, LAYOUT, out, _quiet)
    else:
        writing.fails_at = "train-00001-of-00003.tfrecord"
        with pytest.raises(KeyboardInterrupt):
            prepare(asked, LAYOUT, out, _quiet)
    with pytest.raises(ConfigError, match="another preparation: its shards is 3, .* one 2; exp"):
        prepare(asked, Layout(num_shards=2), out, _quiet)
    other = Asked(asked.dataset, "train", ("size=11",))
    with pytest.raises(ConfigError, match="another preparation: its dataset_options is"):
        prepare(other, LAYOUT, out, _quiet)
    (tmp_path / "mine.py").write_text(SOURCE + "# changed\n")
    with pytest.raises(ConfigError, match="another preparation: its dataset_sha256 is"):
        prepare(asked, LAYOUT, out, _quiet)


def test_a_folder_with_something_else_is_left_alone(tmp_path, writing, asked):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.jpg").touch()
    with pytest.raises(ConfigError, match="holds photo.jpg and is no preparation"):
        prepare(asked, LAYOUT, tmp_path / "out", _quiet)


def test_a_folder_that_another_process_prepares_is_left_alone(tmp_path, writing, asked):
    (tmp_path / "out").mkdir()
    held = FileLock(tmp_path / "out" / ".tfscale-prepare-lock", is_singleton=False)
    with held, pytest.raises(ConfigError, match="is being prepared by another process"):
        prepare(asked, LAYOUT, tmp_path / "out", _quiet)


def test_shards_are_about_as_large_as_was_asked_for(tmp_path, writing, asked):
    bigger = Asked(asked.dataset, "train", ("size=1000",))
    made = prepare(bigger, Layout(shard_mb=0.02), tmp_path / "out", _quiet)
    assert len(made.files) > 2
    for shard in made.files.values():
        assert 0.014 * 2**20 < shard.num_bytes < 0.026 * 2**20


def test_there_are_no_more_shards_than_records(tmp_path, writing, asked):
    made = prepare(asked, Layout(num_shards=99), tmp_path / "out", _quiet)
    assert [shard.records for shard in made.files.values()] == [1] * 10


def test_a_record_that_fails_is_told_with_its_split(tmp_path, writing):
    (tmp_path / "mine.py").write_text(
        "import tensorflow as tf\n"
        "def load(split):\n"
        "    names = tf.data.Dataset.from_tensor_slices(['/no/file'])\n"
        "    return names.map(tf.io.read_file)\n"
    )
    asked = Asked(str(tmp_path / "mine.py"), "train")
    for layout in (Layout(num_shards=1), Layout()):
        with pytest.raises(ConfigError, match=r"load\('train'\) failed while its .*/no/file"):
            prepare(asked, layout, tmp_path / "out", _quiet)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_fewer_records_than_were_promised_are_an_error(tmp_path, writing):
    (tmp_path / "mine.py").write_text(
        "import tensorflow as tf\n"
        "def load(split):\n"
        "    return tf.data.Dataset.from_generator(\n"
        "        lambda: range(7), output_signature=tf.TensorSpec([], tf.int64)\n"
        "    ).apply(tf.data.experimental.assert_cardinality(9))\n"
    )
    asked = Asked(str(tmp_path / "mine.py"), "train")
    with pytest.raises(ConfigError, match=r"load\('train'\) failed while its records were read"):
        prepare(asked, LAYOUT, tmp_path / "out", _quiet)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    "wrong", [{"format": "zip"}, {"num_shards": -1}, {"shard_mb": 0}, {"processes": 0}]
)
def test_a_layout_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"--{next(iter(wrong))}="):
        Layout(**wrong)
