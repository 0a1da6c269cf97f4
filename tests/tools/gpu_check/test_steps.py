from pathlib import Path

import pytest

from tests.jobs.on_devices import LIMITS, largest_difference
from tests.jobs.scenes import SCENES
from tools.gpu_check.steps import Machine, steps

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("machine", "sizes"),
    [
        (Machine(1), [1]),
        (Machine(2), [1, 2]),
        (Machine(6), [1, 2, 4, 6]),
        (Machine(8), [1, 2, 4, 8]),
        (Machine(0, 2), [1, 2]),
    ],
)
def test_sizes_are_doubled_up_to_all(machine, sizes):
    assert machine.sizes == sizes


@pytest.mark.parametrize("machine", [Machine(1), Machine(8), Machine(0, 2)])
def test_every_step_has_a_name_of_its_own_and_a_program_that_is_there(machine):
    asked = steps(machine, Path("out"))
    assert len({step.name for step in asked}) == len(asked)
    assert all("/" not in step.name and "=" not in step.name for step in asked)
    programs = [word for step in asked for word in step.command if word.startswith("launch/")]
    assert {"launch/worker.py", "launch/local.py", "launch/bench.py"} <= set(programs)
    assert all((ROOT / program).is_file() for program in programs)


def test_something_useful_is_known_after_five_minutes_and_everything_after_twelve():
    """By the limits of the steps, which hardly one takes in full."""
    asked = steps(Machine(1), Path("out"))
    names = [step.name for step in asked]
    first = sum(step.limit_seconds for step in asked[: names.index("ring")])
    assert first <= 5.5 * 60
    for step in asked:
        assert step.limit_seconds <= 240


def test_each_of_ours_is_compared_with_plain_keras():
    systems = [
        word.removeprefix("--systems=")
        for step in steps(Machine(1), Path("out"))
        for word in step.command
        if word.startswith("--systems=")
    ]
    singles = {text for text in systems if "," not in text}
    for text in singles:
        if text.startswith("tfscale"):
            assert text.replace("tfscale", "plain_keras") in singles


def test_one_gpu_is_not_scaled_and_several_are():
    texts = [" ".join(step.command) for step in steps(Machine(4), Path("out"))]
    assert any("--gpus=1,2,4" in text for text in texts)
    assert not any("--gpus=1," in " ".join(step.command) for step in steps(Machine(1), Path("o")))


def test_the_scenes_that_devices_play_are_there():
    assert LIMITS.keys() <= SCENES.keys()


@pytest.mark.parametrize(
    ("found", "expected", "far"),
    [
        ({"weights": [1.0, 2.0]}, {"weights": [1.0, 2.5]}, 0.5),
        ({"weights": [1.0]}, {"weights": [1.0]}, 0.0),
        ({"weights": [float("nan")]}, {"weights": [1.0]}, None),
        ({"weights": [1.0]}, {"others": [1.0]}, float("inf")),
    ],
)
def test_the_largest_difference_of_two_results(found, expected, far):
    difference = largest_difference(found, expected)
    assert difference == far or (far is None and difference != difference)
