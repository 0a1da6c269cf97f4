"""Gives tests the scenes that their mark `plays` names, and plays no others. See playing.py."""

import pytest

from tests.jobs.playing import Part, Played, parts, play


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "plays(*scenes, on, compared=True): run once for each scene and each shape of `on`, with "
        "what the scene gave there as `played`, and on one worker as `played.alone` where compared",
    )


def pytest_generate_tests(metafunc):
    mark = metafunc.definition.get_closest_marker("plays")
    if mark is not None:
        metafunc.parametrize("played", parts(*mark.args, **mark.kwargs), ids=str, indirect=True)


@pytest.fixture(scope="session")
def stage_folder(request, tmp_path_factory):
    """Where everything lies that the chosen tests need played."""
    asked = [
        value
        for item in request.session.items
        for value in getattr(getattr(item, "callspec", None), "params", {}).values()
        if isinstance(value, Part)
    ]
    folder = tmp_path_factory.mktemp("scenes")
    play(asked, folder)
    return folder


@pytest.fixture
def played(request):
    """What a scene gave; see playing.Played."""
    if not hasattr(request, "param"):
        pytest.fail(
            f"{request.node.name} asks for `played` and names no scene; expected a mark such as "
            '@pytest.mark.plays("clipping", on=SEVERAL)',
            pytrace=False,
        )
    return Played(request.param, request.getfixturevalue("stage_folder"))
