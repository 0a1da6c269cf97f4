import json

from tools.bench.blocks import in_turns, ratios, with_range, write_both


def test_systems_take_turns_whose_order_changes():
    assert list(in_turns(3, ["a", "b"])) == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_blocks_are_compared_with_those_measured_next_to_them():
    assert ratios([1.0, 6.0], [2.0, 3.0]) == [0.5, 2.0]


def test_a_median_is_said_with_its_range():
    assert with_range([3.0, 1.0, 2.0]) == "2 (1 to 3)"
    assert with_range([1000.4, 990.0, 1010.0], ",.0f") == "1,000 (990 to 1,010)"


def test_both_files_are_written_into_a_folder_that_need_not_be_there(tmp_path):
    write_both(tmp_path / "a/b", "speed", [{"x": 1}], "# Speed\n")
    assert json.loads((tmp_path / "a/b/speed.json").read_text()) == [{"x": 1}]
    assert (tmp_path / "a/b/speed.md").read_text() == "# Speed\n"
