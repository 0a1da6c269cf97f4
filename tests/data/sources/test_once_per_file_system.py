"""What lies on disk before records are read is made by one of several processes."""

import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from tests.jobs.workers import ROOT, start_all
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.once_per_file_system import prepare
from tfscale.data.sources.source import source_of
from tfscale.errors import ConfigError
from tfscale.fit.keras.downloads import one_download_at_a_time

FILE = """
import os, time
import tensorflow as tf

size = 3


def prepare(data_dir):
    time.sleep(0.5)
    with open(os.path.join(data_dir, "log"), "a") as log:
        log.write("prepared\\n")
    tf.io.write_file(os.path.join(data_dir, "records"), ",".join(map(str, range(size))))


def load(split, data_dir):
    text = tf.io.read_file(os.path.join(data_dir, "records"))
    numbers = tf.data.Dataset.from_tensor_slices(tf.strings.split(text, ","))

    def counted(number):
        with open(os.path.join(data_dir, "made"), "a") as log:
            log.write("x")
        return number

    made = numbers.map(lambda n: tf.ensure_shape(tf.numpy_function(counted, [n], tf.string), []))
    return made.cache(os.path.join(data_dir, "cache"))
"""
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.once_per_file_system import prepare
from tfscale.data.sources.source import source_of
file = read_dataset_file({path!r}, (), {folder!r})
prepare(file, print)
print(sorted(record.numpy() for record in source_of(file, "train").records), flush=True)
import os
os._exit(0)
"""


@pytest.mark.promise("once")
def test_three_workers_that_start_at_once_on_an_empty_folder_prepare_it_once(tmp_path):
    path, folder = tmp_path / "mine.py", tmp_path / "data"
    path.write_text(FILE)
    program = PROGRAM.format(root=str(ROOT), path=str(path), folder=str(folder))
    workers = start_all([[sys.executable, "-c", program]] * 3, deadline_seconds=120)
    for worker in workers:
        assert worker.code == 0, worker.err[-2000:]
        assert "[b'0', b'1', b'2']" in worker.out
    assert (folder / "log").read_text() == "prepared\n"
    assert (folder / "made").read_text() == "xxx"  # each record was made once for the cache


def _file(path, options=()):
    return read_dataset_file(str(path), options, str(path.parent / "data"))


def test_it_is_prepared_again_for_other_options_and_when_its_marker_is_gone(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE.replace("time.sleep(0.5)", "pass"))
    log = tmp_path / "data" / "log"

    def times(options=()):
        said = []
        prepare(_file(path, options), said.append)
        return log.read_text().count("prepared"), " ".join(said)

    assert times()[0] == 1
    count, said = times()
    assert count == 1
    assert times(("size=4",))[0] == 2
    Path(said.split("remove ")[1].split(" to have")[0]).unlink()
    assert times()[0] == 3


def test_a_prepare_that_fails_says_so_and_is_tried_again(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE.replace("time.sleep(0.5)", "raise OSError('no\\nserver')"))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"mine.py: prepare\(\) raised OSError: no server"):
            prepare(_file(path), print)


def test_a_folder_that_nobody_asks_for_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def load(split):\n    return None\n")
    with pytest.raises(ConfigError, match="doesn't ask for it"):
        _file(path)


@pytest.mark.promise("once")
def test_of_several_processes_one_downloads_a_file_at_a_time(tmp_path, monkeypatch):
    origin = tmp_path / "origin.txt"
    origin.write_text("contents")
    locked = []
    from keras.src.datasets import mnist
    from keras.src.utils import file_utils

    def retrieve(url, target, *args):
        # Whoever comes second would fail here or wait: the lock is held.
        held = [name for name in Path(target).parent.iterdir() if "download" in name.name]
        locked.extend(held)
        Path(target).write_bytes(origin.read_bytes())

    monkeypatch.setattr(file_utils, "urlretrieve", retrieve)
    before = keras.utils.get_file
    with one_download_at_a_time(print):
        assert mnist.get_file is keras.utils.get_file is not before
        path = keras.utils.get_file(
            "copy.txt", "http://nowhere/copy.txt", cache_dir=str(tmp_path), cache_subdir="sub"
        )
    assert keras.utils.get_file is before
    assert Path(path).read_text() == "contents"
    assert len(locked) == 1
    assert locked[0].parent == tmp_path / "sub"


def test_keras_still_writes_a_download_to_its_place(tmp_path, monkeypatch):
    # When this fails, who comes second finds no part of a file, and one_download_at_a_time can go.
    from keras.src.utils import file_utils

    targets = []

    def retrieve(url, target, *args):
        targets.append(target)
        Path(target).write_text("a part")

    monkeypatch.setattr(file_utils, "urlretrieve", retrieve)
    where = {"cache_dir": str(tmp_path), "cache_subdir": "sub"}
    found = keras.utils.get_file("copy.txt", "http://nowhere/copy.txt", **where)
    assert targets == [found]


def test_nothing_is_cached_ahead_where_there_is_no_cache():
    assert (
        source_of(
            read_dataset_file(type("mine", (), {"load": lambda split: tf.data.Dataset.range(3)})),
            "train",
        ).num_examples
        == 3
    )
