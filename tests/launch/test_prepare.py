"""The program as somebody types it, with two processes that write."""

import sys

import numpy as np
import tensorflow as tf

from datasets import digits
from tests.jobs.workers import ROOT, start_all
from tfscale.data.formats import prepared
from tfscale.files import manifest

DEADLINE_SECONDS = 240


def test_digits_come_back_as_they_were(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "launch" / "prepare.py"),
        f"--dataset={ROOT}/datasets/digits.py",
        "--split=validation",
        f"--out={tmp_path}/out",
        "--num_shards=4",
        "--processes=2",
    ]
    (ended,) = start_all(
        [command], deadline_seconds=DEADLINE_SECONDS, environ={"TMPDIR": str(tmp_path)}
    )
    folder = tmp_path / "out" / "validation"
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith(f"validation: 180 records in 4 shards, {folder}\n")
    assert [shard.records for shard in manifest.verify(folder, hashes=True).files.values()] == [
        45
    ] * 4
    records = prepared.records(folder)
    (parse,) = records.functions
    texts = tf.data.Dataset.range(180).batch(64).map(records.read).unbatch()
    for found, record in zip(texts.map(parse), digits.load("validation"), strict=True):
        np.testing.assert_array_equal(found["image"], record["image"])
        assert found["label"] == record["label"]
