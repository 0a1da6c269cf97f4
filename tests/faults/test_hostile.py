"""S2, the quick part: python -m tests.faults.hostile sends 1,000 values, also to real programs."""

import pytest

from tests.faults.hostile import Doors, sent


@pytest.mark.promise("hostile_words")
def test_hostile_values_are_refused_in_a_line_or_taken_literally_and_none_is_run(tmp_path):
    doors = sent(150, 1, 7, tmp_path)
    assert doors.findings == []
    assert doors.counts["executed"] == 0
    assert doors.counts["refused"] > 1000 and doors.counts["taken literally"] > 500
    assert doors.counts["programs started"] == 7


def test_a_canary_and_a_text_that_a_terminal_obeys_are_found(tmp_path):
    doors = Doors(tmp_path, tmp_path / "canary")
    (tmp_path / "canary").touch()
    doors._look("a value")
    doors._require_clean("a door", "a value", "\x9b2J".encode(), lines=1)
    doors._commands = [(f"a; touch {tmp_path}/canary", ["a"])]
    doors.type_commands()
    doors._program("python -c 'import keras; keras.saving.load_model(\"a\")'", "b")
    found = [what for _, what, _ in doors.findings]
    assert found == [
        "EXECUTED",
        "says what a terminal obeys",
        "says 0 lines",
        "EXECUTED",
        "reads another path",
    ]
