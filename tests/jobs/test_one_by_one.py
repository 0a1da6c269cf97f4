import gc

import pytest

from tests.jobs.one_by_one import one_by_one


@pytest.fixture
def collected(monkeypatch):
    """How often garbage was looked for."""
    calls = []
    monkeypatch.setattr(gc, "collect", lambda: calls.append(gc.get_freeze_count()))
    yield calls
    gc.unfreeze()


def test_every_name_comes_and_garbage_is_looked_for_after_every_eighth(collected):
    assert list(one_by_one(range(20))) == list(range(20))
    assert collected == [0, 0, 0]


def test_what_a_training_would_look_through_is_frozen(collected):
    for _ in one_by_one(["a"]):
        assert gc.get_freeze_count() > 0
