"""The same x is found again, and nothing else is taken for it."""

import numpy as np

from tfscale.data.inspect.repeats import Seen


def _seen(*xs):
    seen = Seen()
    for number, x in enumerate(xs):
        seen.add(x, number)
    return seen


def test_an_x_that_comes_again_is_counted_and_named():
    seen = _seen(np.zeros(3), np.ones(3), np.zeros(3), np.zeros(3))
    assert (seen.num_repeated, seen.an_example) == (2, (0, 2))


def test_what_two_splits_share_is_named_by_its_numbers_in_both():
    train, test = _seen(np.zeros(3), np.ones(3)), _seen(np.full(3, 2.0), np.ones(3))
    assert train.shared_with(test) == [(1, 1)]
    assert _seen(np.zeros(3)).shared_with(_seen(np.ones(3))) == []


def test_shape_dtype_and_name_count():
    plain = np.zeros(4, np.float32)
    xs = [plain, plain.reshape(2, 2), plain.view(np.int32), {"a": plain}, {"b": plain}]
    assert _seen(*xs).num_repeated == 0


def test_texts_are_compared_by_what_they_say():
    first, again = (np.array([b"".join([b"a", b"b"])], object) for _ in range(2))
    assert _seen(first, again).num_repeated == 1
    assert _seen(first, np.array([b"ac"], object)).num_repeated == 0
