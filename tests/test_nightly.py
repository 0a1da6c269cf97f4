from types import SimpleNamespace

from tests import nightly

SCENE = "tests/jobs/test_parity.py::test_a_scene[2x1]"
DEFECT = "tests/fit/test_one.py::test_keras_is_wrong"
KEPT = {DEFECT: "apply (tfscale/fit/one.py)"}


def _summary(failed, missing=""):
    outcomes = SimpleNamespace(passed={"a", "b"}, failed=failed)
    lines, is_broken = nightly.summary(outcomes, KEPT, missing)
    return "\n".join(lines), is_broken


def test_a_scene_that_fails_is_broken_and_a_defect_that_is_gone_is_good_news():
    text, is_broken = _summary({SCENE: "TypeError: no", f"{DEFECT}[x]": "assert 1 == 2"})
    assert is_broken
    broken, gone = text.split("Defects that are gone")
    assert SCENE in broken and "TypeError: no" in broken and DEFECT not in broken
    assert KEPT[DEFECT] in gone and "assert 1 == 2" in gone


def test_a_keras_that_only_is_better_breaks_nothing():
    text, is_broken = _summary({DEFECT: "assert 1 == 2"})
    assert not is_broken and "Broken: nothing" in text
    assert not _summary({})[1]


def test_names_that_are_missing_are_told_first():
    text, is_broken = _summary({}, "Keras 4 has no keras.src")
    assert is_broken
    assert text.startswith("Names that aren't public: Keras 4 has no keras.src")


def test_every_defect_of_the_list_is_asked_for():
    found = nightly.defects()
    assert len(found) > 15
    assert all("::" in test and "tfscale/" in kept for test, kept in found.items())
