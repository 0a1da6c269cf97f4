import os

import pytest

from tfscale.errors import ConfigError
from tools.prepare.split_records import Asked, open_split

BEGINNING = "import tensorflow as tf\n"


@pytest.fixture
def opened(tmp_path):
    def open_lines(*lines, split="train", options=(), data_dir=""):
        path = tmp_path / "mine.py"
        path.write_text(BEGINNING + "\n".join(lines))
        return open_split(Asked(str(path), split, options, data_dir))

    return open_lines


def _numbers(records):
    return [int(each) for each in records.as_numpy_iterator()]


def test_records_between_two_numbers_are_those_of_a_dataset(opened):
    split = opened("size = 9", "def load(split): return tf.data.Dataset.range(size)")
    assert split.count == 9
    assert _numbers(split.between(2, 5)) == [2, 3, 4]
    assert _numbers(split.between(0, -1)) == list(range(9))


def test_options_and_the_folder_of_the_data_reach_the_file(opened):
    lines = (
        "size = 9",
        "def load(split, data_dir): return tf.data.Dataset.from_tensors(data_dir).repeat(size)",
    )
    split = opened(*lines, options=("size=2",), data_dir="/data/mine")
    assert list(split.between(0, 2).as_numpy_iterator()) == [b"/data/mine"] * 2
    usual = os.fsencode(os.path.abspath("data"))
    assert list(opened(*lines).between(0, 1).as_numpy_iterator()) == [usual]


def test_a_collection_is_read_by_its_numbers_with_all_of_its_functions(opened, tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"{number}\n" for number in range(200)))
    split = opened(
        "from tfscale.data.formats import text_lines",
        "def load(split):",
        f"    lines = text_lines.records({str(tmp_path / 'a.txt')!r})",
        "    pairs = lines.map(lambda line: (tf.strings.to_number(line, tf.int64), line))",
        "    return pairs.map(lambda pair: {'twice': pair[0] * 2, 'line': pair[1]})",
    )
    assert split.count == 200
    found = list(split.between(150, 199).as_numpy_iterator())
    assert [(int(each["twice"]), each["line"]) for each in found] == [
        (2 * number, b"%d" % number) for number in range(150, 199)
    ]


def test_a_fixed_shuffle_of_load_is_the_order_that_is_written(opened):
    split = opened(
        "def load(split):",
        "    kept = tf.data.Dataset.range(30).filter(lambda n: n > 9)",
        "    return kept.shuffle(30, seed=1, reshuffle_each_iteration=False)",
    )
    found = _numbers(split.between(0, -1))
    assert sorted(found) == list(range(10, 30)) != found
    assert _numbers(split.between(2, 5)) == found[2:5]


def test_a_shuffle_that_only_mixes_what_has_an_index_is_left_out(opened):
    split = opened("def load(split): return tf.data.Dataset.range(9).shuffle(9, seed=1)")
    assert _numbers(split.between(2, 5)) == [2, 3, 4]


def test_an_order_that_is_another_each_time_is_refused(opened):
    with pytest.raises(ConfigError, match=r"load\('train'\) gives its records in another order"):
        opened(
            "def load(split):",
            "    kept = tf.data.Dataset.range(30).filter(lambda n: n > 9)",
            "    return kept.shuffle(30, seed=1)",
        )


def test_a_dataset_of_slices_is_not_read_from_its_front(opened, tmp_path):
    split = opened(
        "def seen(number):",
        f"    with open({str(tmp_path / 'seen')!r}, 'a') as file:",
        "        file.write(f'{number} ')",
        "    return number",
        "def load(split):",
        "    numbers = tf.data.Dataset.from_tensor_slices(tf.range(9, dtype=tf.int64))",
        "    same = lambda n: tf.py_function(seen, [n], tf.int64)",
        "    return numbers.map(same).map(lambda n: tf.ensure_shape(n, []))",
    )
    assert _numbers(split.between(7, 9)) == [7, 8]
    assert (tmp_path / "seen").read_text() == "7 8 "


def test_what_load_needs_on_disk_is_made_before(opened, tmp_path):
    split = opened(
        "from pathlib import Path",
        "def prepare(data_dir): Path(data_dir, 'count').write_text('4')",
        "def load(split, data_dir):",
        "    return tf.data.Dataset.range(int(Path(data_dir, 'count').read_text()))",
        data_dir=str(tmp_path / "data"),
    )
    assert split.count == 4


def test_records_that_only_reading_counts_are_counted(opened):
    split = opened("def load(split): return tf.data.Dataset.range(9).filter(lambda n: n > 2)")
    assert split.count is None
    assert split.counted().count == 6
    assert _numbers(split.between(1, 3)) == [4, 5]


def test_pairs_are_counted(opened):
    split = opened(
        "def load(split):",
        "    pairs = tf.data.Dataset.range(9).map(lambda n: (n, n))",
        "    return pairs.filter(lambda n, same: n > 2)",
    )
    assert split.counted().count == 6


def test_records_of_files_that_read_opens_come_file_after_file(opened):
    split = opened(
        "def load(split): return tf.data.Dataset.from_tensor_slices(([0, 10], [2, 3]))",
        "def read(pair): return tf.data.Dataset.range(tf.cast(pair[0], tf.int64), "
        "tf.cast(pair[0] + pair[1], tf.int64))",
    )
    assert split.counted().count == 5
    assert _numbers(split.between(1, 4)) == [1, 10, 11]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("return tf.data.Dataset.range(3).repeat()", "never ends; expected records that can all"),
        ("return None", r"load\('validation'\) returned None; expected a split"),
        ("return tf.data.Dataset.range(4).batch(2)", "yields batches"),
        (
            "return tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3]]))",
            r"load\('validation'\): The records have .*expected dense tensors",
        ),
    ],
)
def test_a_split_that_cannot_be_written_is_refused(opened, line, words):
    with pytest.raises(ConfigError, match=words):
        opened(f"def load(split): {line}", split="validation")


def test_a_folder_that_load_does_not_ask_for_is_refused(opened):
    with pytest.raises(ConfigError, match=r"--data_dir=/data is given, but .* doesn't ask for it"):
        opened("def load(split): return tf.data.Dataset.range(3)", data_dir="/data")
