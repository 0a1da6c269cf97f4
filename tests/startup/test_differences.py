import pytest

from tfscale.startup.differences import MOST_SHOWN, ranks_text, shown


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ([0], "0"),
        ([0, 1], "0, 1"),
        ([0, 1, 2], "0 to 2"),
        ([0, 2, 3, 4, 7, 8], "0, 2 to 4, 7, 8"),
        ([1, 3, 5], "1, 3, 5"),
    ],
)
def test_ranks_are_written_as_people_do(ranks, text):
    assert ranks_text(ranks) == text


def test_one_fact_is_told_in_a_line_with_those_together_who_have_the_same():
    assert shown({"loss": ["mse", "mae", "mse", "mse"]}, "Copy the files.") == (
        "The workers differ in loss (workers 0, 2, 3: mse, worker 1: mae); expected the same on "
        "all. Copy the files."
    )


def test_several_facts_are_a_table_of_who_has_what():
    differing = {
        "tensorflow": ["2.21.0", "2.20.0", "2.21.0", "2.21.0"],
        "--batch_size": ["64", "32", "32", "32"],
    }
    assert shown(differing, "Start them alike.").splitlines() == [
        "The workers differ in 2 things; expected the same on all. Start them alike.",
        "  what          workers  value",
        "  tensorflow    0, 2, 3  2.21.0",
        "                1        2.20.0",
        "  --batch_size  0        64",
        "                1 to 3   32",
    ]


def test_of_very_many_facts_the_rest_is_counted():
    differing = {f"fact {number}": ["a", "b"] for number in range(MOST_SHOWN + 5)}
    lines = shown(differing, "Start them alike.").splitlines()
    assert len(lines) == 2 + 2 * MOST_SHOWN + 1
    assert lines[-1] == "  and 5 more"
