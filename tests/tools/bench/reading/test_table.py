import json

import pytest

from tools.bench.reading import table
from tools.bench.reading.table import Results


def _blocks(*rates):
    return [{"examples_per_second": rate, "processor_seconds": 1 / rate} for rate in rates]


RESULTS = Results(
    cores=2,
    examples=128,
    rates={
        "tfrecord": {
            "tfscale": _blocks(990.0, 1000.0, 1010.0),
            "bare tf.data": _blocks(1000.0, 1100.0, 1000.0),
        }
    },
    step_seconds=0.224,
    utilisation={"disk": {"tfscale": [0.99, 0.995, 0.98]}},
    position_seconds=[0.5, 0.7, 0.6],
)


def test_a_share_is_that_of_medians_with_the_range_of_neighbours():
    ours, bare = table.rows_of(RESULTS)
    assert ours["examples_per_second_median"] == 1000
    assert ours["share_of_bare"] == 1
    assert ours["share_of_bare_low"] == pytest.approx(1000 / 1100)
    assert ours["share_of_bare_high"] == pytest.approx(1.01)
    assert ours["examples_per_second_and_core"] == 500
    assert ours["processor_seconds_per_example"] == pytest.approx(0.001)
    assert bare["share_of_bare"] == 1


def test_the_table_has_every_figure():
    text = table.markdown(RESULTS)
    row = "| TFRecord, JPEG | tfscale | 1,000 (990 to 1,010) | 100.0 % (90.9 to 101.0) | 500 | 1 |"
    assert row in text
    assert "| TFRecord, JPEG | bare tf.data | 1,000 (1,000 to 1,100) | - | 500 | 1 |" in text
    assert "224 ms for them, 1,786 records/s" in text
    assert "| disk | 99 (98 to 99.5) % |" in text
    assert "from the listing of the file on: 0.6 (0.5 to 0.7) s." in text


def test_what_was_not_measured_is_not_in_the_table():
    text = table.markdown(Results(cores=2, examples=128))
    assert "accelerator" not in text
    assert "first batch" not in text


def test_the_files_hold_every_block(tmp_path):
    table.write(RESULTS, tmp_path)
    written = json.loads((tmp_path / "reading.json").read_text())
    assert written["rows"][0]["examples_per_second"] == [990, 1000, 1010]
    assert written["accelerator"]["utilisation"] == {"disk": {"tfscale": [0.99, 0.995, 0.98]}}
    assert written["position_seconds"] == [0.5, 0.7, 0.6]
    assert (tmp_path / "reading.md").read_text() == table.markdown(RESULTS)
