import json

import pytest

from tools.bench import results
from tools.bench.groups import Cell
from tools.bench.sweep import Measured
from tools.bench.task import Variant

OURS = Variant.parse("tfscale:wire_dtype=float16:bucket_mb=8")
STOCK = Variant.parse("stock")


def _measured(cell, *step_seconds, peak_bytes=3 * 2**20):
    return Measured(cell, 10, list(step_seconds), peak_bytes)


def _rows(*measured, examples=32):
    return results.rows_of(measured, "resnet-50", examples)


def test_a_row_has_every_key_that_its_readers_rely_on():
    (row,) = _rows(_measured(Cell(OURS, 1, True, 1000.0), 0.5, 0.25, 0.75))
    assert row == {
        "system": str(OURS),
        "profile": "resnet-50",
        "workers": 1,
        "coupled": True,
        "link_mbps": 1000.0,
        "wire_dtype": "float16",
        "bucket_mb": 8.0,
        "compress": "none",
        "steps_per_block": 10,
        "step_seconds": [0.5, 0.25, 0.75],
        "step_seconds_median": 0.5,
        "examples_per_second": 64.0,
        "baseline": "one worker",
        "efficiency": 1.0,
        "efficiency_low": 1.0,
        "efficiency_high": 1.0,
        "peak_bytes": 3 * 2**20,
    }


def test_loopback_and_an_automatic_bucket_are_null():
    (row,) = _rows(_measured(Cell(STOCK, 1), 1.0))
    assert row["link_mbps"] is None and row["bucket_mb"] is None


def test_examples_of_all_workers_count():
    assert _rows(_measured(Cell(STOCK, 4), 0.5))[0]["examples_per_second"] == 4 * 32 / 0.5


def test_efficiency_pairs_the_blocks_that_were_measured_next_to_each_other():
    base = _measured(Cell(STOCK, 1), 1.0, 2.0, 4.0)
    row = _rows(base, _measured(Cell(STOCK, 2), 2.0, 2.0, 5.0))[1]
    assert row["baseline"] == "one worker"
    assert row["efficiency"] == 2.0 / 2.0
    assert (row["efficiency_low"], row["efficiency_high"]) == (0.5, 1.0)


def test_uncoupled_workers_are_the_base_where_there_are_as_many():
    alone = _measured(Cell(STOCK, 1), 1.0)
    uncoupled = _measured(Cell(STOCK, 2, False), 1.5)
    rows = _rows(alone, uncoupled, _measured(Cell(STOCK, 2), 2.0), _measured(Cell(STOCK, 4), 4.0))
    assert [row["baseline"] for row in rows] == ["one worker", None, "uncoupled", "one worker"]
    assert [row["efficiency"] for row in rows] == [1.0, None, 0.75, 0.25]


@pytest.mark.parametrize(
    "other",
    [Cell(OURS, 1), Cell(STOCK, 1, True, 100.0), Cell(STOCK, 4, False), Cell(OURS, 2, False)],
    ids=str,
)
def test_another_system_link_or_size_is_no_base(other):
    row = _rows(_measured(other, 1.0), _measured(Cell(STOCK, 2), 2.0))[1]
    keys = ("baseline", "efficiency", "efficiency_low", "efficiency_high")
    assert [row[key] for key in keys] == [None] * 4


def test_gpus_of_one_process_count_as_workers_and_compare_with_one_gpu():
    cells = [Cell(STOCK, 1, True, 0.0, gpus) for gpus in (1, 4)]
    rows = _rows(_measured(cells[0], 1.0), _measured(cells[1], 1.25))
    assert [row["workers"] for row in rows] == [1, 4]
    assert rows[1]["efficiency"] == 0.8
    assert rows[1]["examples_per_second"] == 4 * 32 / 1.25


def test_blocks_that_have_no_partner_are_refused():
    with pytest.raises(ValueError, match="zip"):
        _rows(_measured(Cell(STOCK, 1), 1.0, 1.0), _measured(Cell(STOCK, 2), 1.0))


def test_the_table_has_a_line_for_each_system_and_a_column_for_each_size():
    rows = _rows(
        _measured(Cell(STOCK, 1), 0.1, 0.1, 0.1),
        _measured(Cell(STOCK, 2), 0.125, 0.1, 0.2),
        _measured(Cell(Variant.parse("bare"), 2), 0.1234567, 0.1, 1.0),
    )
    assert results.markdown(rows).splitlines()[:14] == [
        "### resnet-50, loopback",
        "",
        "Milliseconds of a step and scaling efficiency:",
        "",
        "| system | 1 worker         | 2 workers                                |",
        "| ------ | ---------------- | ---------------------------------------- |",
        "| stock  | 100 (100 to 100) | 125 (100 to 200), 80.0 % (50.0 to 100.0) |",
        "| bare   | -                | 123.5 (100 to 1000)                      |",
        "",
        "Examples/s of all workers together, and memory of the largest worker:",
        "",
        "| system | 1 worker   | 2 workers    |",
        "| ------ | ---------- | ------------ |",
        "| stock  | 320, 3 MiB | 512, 3 MiB   |",
    ]


def test_each_link_has_its_own_tables_and_the_method_follows():
    rows = _rows(_measured(Cell(STOCK, 1), 1.0)) + _rows(_measured(Cell(STOCK, 1, True, 50.0), 1.0))
    text = results.markdown(rows)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "### resnet-50, loopback",
        "### resnet-50, 50 Mbit/s",
    ]
    assert text.splitlines()[-1].startswith("Systems and numbers of workers took turns")


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ([(1, True), (2, True)], "of the speed of the same system with one worker, with the range"),
        (
            [(1, True), (2, True), (2, False)],
            "of the speed of as many workers of the same system that train alone at the same time,",
        ),
        (
            [(1, True), (2, True), (2, False), (4, True)],
            "with one worker, or as many workers of the same system that train alone",
        ),
    ],
)
def test_the_method_says_what_efficiency_is_against(sizes, text):
    assert text in results.markdown(_rows(*(_measured(Cell(STOCK, *s), 1.0) for s in sizes)))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_method_is_silent_on_an_efficiency_that_is_not_shown(workers):
    text = results.markdown(_rows(_measured(Cell(STOCK, workers), 1.0)))
    assert text.endswith(
        "Step times are medians of 1 block, with the fastest and the slowest in brackets.\n"
    )


def test_uncoupled_workers_have_a_line_of_their_own_and_are_named_as_the_base():
    text = results.markdown(
        _rows(_measured(Cell(STOCK, 2), 0.2), _measured(Cell(STOCK, 2, False), 0.1))
    )
    assert "| stock             | 200 (200 to 200), 50.0 % of uncoupled (50.0 to 50.0) |" in text
    assert "| stock, each alone | 100 (100 to 100) " in text
    assert "| stock, each alone | 640, 3 MiB |" in text


def test_every_line_of_a_table_is_as_wide_as_the_first():
    rows = _rows(_measured(Cell(OURS, 1), 1.0), _measured(Cell(STOCK, 16), 123.456))
    lines = [line for line in results.markdown(rows).splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines[:4]}) == len({len(line) for line in lines[4:]}) == 1


def test_both_files_are_written_into_a_new_folder_and_nothing_else(tmp_path):
    rows = _rows(_measured(Cell(STOCK, 1), 1.0))
    folder = tmp_path / "new" / "folder"
    results.write(rows, folder)
    results.write(rows, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["scaling.json", "scaling.md"]
    assert json.loads((folder / "scaling.json").read_text()) == rows
    assert (folder / "scaling.md").read_text() == results.markdown(rows)
