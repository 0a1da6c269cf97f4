"""The program that looks at a dataset file, as somebody starts it."""

import sys

from PIL import Image

from tests.jobs.workers import ROOT, start_all

DEADLINE_SECONDS = 120


def _run(*flags):
    program = [sys.executable, str(ROOT / "launch" / "inspect_data.py"), *flags]
    (ended,) = start_all([program], deadline_seconds=DEADLINE_SECONDS)
    return ended


def test_digits_are_shown_and_drawn(tmp_path):
    out = tmp_path / "digits.png"
    ended = _run("--dataset=datasets/digits.py", "--split=test", f"--out={out}", "--examples=50")
    assert (ended.code, ended.err) == (0, "")
    for words in ("the first 50 of 360", "float32 (8, 8, 1), 0 to 1", "class 9", "nothing looks"):
        assert words in ended.out
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_what_looks_wrong_is_a_line_and_no_failure(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import tensorflow as tf\nnum_classes = 2\nsplits = ('train',)\n"
        "def load(split, data_dir):\n"
        "    assert data_dir == '/data/mine'\n"
        "    return tf.data.Dataset.range(9)\n"
        "def preprocess(record, training):\n"
        "    return tf.cast([record], tf.float32), tf.constant(5)\n"
    )
    ended = _run(f"--dataset={file}", "--data_dir=/data/mine")
    assert ended.code == 0
    assert "warning: y is class 5 in every example" in ended.out


def test_without_a_file_it_is_said_which_flag_is_missing():
    ended = _run("--split=test")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("--dataset is missing; expected the path of a file")
