import threading

import pytest

from tfscale.checkpoints.background import Background


def test_works_beside_and_one_after_the_other():
    background, go, done = Background(), threading.Event(), []
    background.start(lambda: (go.wait(20), done.append(1)))
    assert background.is_busy
    go.set()
    background.start(lambda: done.append(2))
    background.wait()
    assert done == [1, 2]
    assert not background.is_busy


def _fails():
    raise OSError(28, "No space left on device")


def test_a_failure_is_raised_once_where_somebody_looks():
    background = Background()
    background.start(_fails)
    with pytest.raises(OSError, match="No space"):
        background.wait()
    background.require_success()
    background.start(_fails)
    with pytest.raises(OSError, match="No space"):
        background.start(lambda: None)
