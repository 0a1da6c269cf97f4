"""Models as people write them train on several replicas as in plain Keras in one process.

What differs from plain Keras is in the docstrings of tests/jobs/gallery/entry.py. Each shape plays
all chosen entries in one set of processes.
"""

import pickle

import numpy as np
import pytest

from tests.conftest import say
from tests.jobs.gallery import own_steps, stock_models  # noqa: F401  # they fill it
from tests.jobs.gallery.entry import ENTRIES
from tests.jobs.workers import gallery_commands, start_all

pytestmark = [pytest.mark.long, pytest.mark.promise("plain_keras")]

_SIDE_BY_SIDE = (("plain", (1, 1)), ((1, 2),), ((2, 1),), ((2, 2),))
_DEADLINE_SECONDS = 600
_EPSILON = 2e-5


@pytest.fixture(scope="session")
def gallery(request, tmp_path_factory):
    """What each entry gave, gallery(shape, name): a result for each worker."""
    params = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = {one.params["name"] for one in params if one and "name" in one.params}
    names = [name for name in ENTRIES if name in chosen]
    folder = tmp_path_factory.mktemp("gallery")
    for number, together in enumerate(_SIDE_BY_SIDE, 1):
        say(f"part {number} of {len(_SIDE_BY_SIDE)}: models of the gallery, {together}")
        commands = [
            command
            for shape in together
            for command in gallery_commands(_of_shape(names, shape), folder, shape)
        ]
        ended = start_all(commands, deadline_seconds=_DEADLINE_SECONDS, is_warm=True)
        failed = [worker for worker in ended if worker.code != 0]
        assert not failed, f"exit code {failed[0].code}:\n{failed[0].err[-4000:]}"

    def found(shape, name):
        workers = 1 if shape == "plain" else shape[0]
        paths = [folder / f"{shape}" / f"{name}-{rank}.pickle" for rank in range(workers)]
        return [pickle.loads(path.read_bytes()) for path in paths]  # noqa: S301  # our own

    return found


def _of_shape(names, shape):
    return [name for name in names if shape == "plain" or shape in ENTRIES[name].shapes]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param(name, shape, id=f"{name}-{shape[0]}x{shape[1]}")
        for name, one in ENTRIES.items()
        for shape in one.shapes
    ],
)
def test_a_model_trains_as_in_plain_keras(gallery, name, shape):
    entry, plain = ENTRIES[name], gallery("plain", name)[0]
    assert "error" not in plain, plain["error"]
    for found in gallery(shape, name):
        assert "error" not in found, found["error"]
        if entry.is_of_replicas and shape != (1, 1):
            _assert_near(found, plain, entry, epsilon=0.1)
            # Its statistic is a mean over examples, and so is the mean of those of replicas.
            (ours,), (theirs,) = found["statistics"], plain["statistics"]
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=_EPSILON)
        else:
            _assert_near(found, plain, entry, epsilon=_EPSILON)


def _assert_near(found, plain, entry, epsilon):
    assert len(found["weights"]) == len(plain["weights"])
    for ours, theirs in zip(found["weights"], plain["weights"], strict=True):
        if theirs.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=epsilon)
    for ours, theirs in zip(found["history"], plain["history"], strict=True):
        assert set(ours) == set(theirs)
        for log in set(theirs) - set(entry.of_last_batch):
            np.testing.assert_allclose(
                ours[log], theirs[log], rtol=epsilon, atol=epsilon, err_msg=log
            )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param(name, shape, id=f"{name}-{shape[0]}x{shape[1]}")
        for name, one in ENTRIES.items()
        for shape in one.shapes[1:]
        if one.of_last_batch
    ],
)
def test_numbers_of_an_own_evaluation_are_of_all_examples(gallery, name, shape):
    (alone,) = gallery((1, 1), name)
    for found in gallery(shape, name):
        for log in ENTRIES[name].of_last_batch:
            assert log in found["history"][-1]
            # A mean of numbers of parts; what isn't a mean of examples differs by its parts' sizes.
            assert np.isfinite(found["history"][-1][log])
            if log.endswith("error"):
                np.testing.assert_allclose(
                    found["history"][-1][log], alone["history"][-1][log], atol=_EPSILON
                )


@pytest.mark.parametrize("shape", [(2, 1)], ids=["2x1"])
@pytest.mark.parametrize("name", ["transfer_learning"])
def test_what_no_replica_changes_does_not_travel(gallery, name, shape):
    (report,) = {id(one): one["report"] for one in gallery(shape, name)[:1]}.values()
    sent = report["communication"]
    assert sent["gradient_bytes"] == 4 * (8 * 4 + 4)  # of the head
    # Metrics and each worker's figures: the backbone's 4 x 8 moving statistics aren't among them.
    assert sent["sent_bytes_per_boundary"] < 8 * 40
