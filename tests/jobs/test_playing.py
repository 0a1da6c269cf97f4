"""Which processes a choice of tests starts, and what they play."""

import pytest

from tests.jobs.playing import ALONE, SEVERAL, TWO, Part, Played, parts, programme


def test_one_test_starts_its_own_shape_and_the_worker_it_compares_with():
    assert programme(parts("clipping", on=[TWO])) == {ALONE: ["clipping"], TWO: ["clipping"]}


def test_nobody_plays_for_a_test_that_compares_with_nobody():
    assert programme(parts("compressed", on=[TWO], compared=False)) == {TWO: ["compressed"]}


def test_a_scene_that_several_tests_ask_for_is_played_once():
    asked = [
        *parts("clipping", "parity_float32", on=SEVERAL),
        *parts("clipping", on=[TWO]),
        *parts("parity_float32", on=[ALONE]),
    ]
    assert programme(asked) == {
        shape: ["parity_float32", "clipping"] for shape in sorted((ALONE, *SEVERAL))
    }


def test_no_test_no_process():
    assert programme([]) == {}


def test_a_test_runs_for_each_scene_on_each_shape():
    assert [str(part) for part in parts("loops", "dropout", on=[TWO, (1, 4)])] == [
        *("loops-2x1", "loops-1x4", "dropout-2x1", "dropout-1x4")
    ]


@pytest.mark.parametrize(
    ("scenes", "on", "message"),
    [
        (["sleeping"], [TWO], "scene .*sleeping.*; expected some of .*clipping"),
        ([], [TWO], "scene .*; expected some of"),
        (["clipping"], [(3, 1)], r"shape .*\(3, 1\).*; expected some of .*\(2, 1\)"),
    ],
    ids=["unknown scene", "no scene", "unknown shape"],
)
def test_what_nobody_can_play_is_refused_with_what_there_is(scenes, on, message):
    with pytest.raises(LookupError, match=message):
        parts(*scenes, on=on)


def test_a_test_does_not_see_what_it_did_not_ask_for(tmp_path):
    played = Played(Part("clipping", TWO, is_compared=False), tmp_path)
    with pytest.raises(LookupError, match="doesn't play clipping for this test"):
        _ = played.alone
