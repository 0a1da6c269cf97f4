import random

import pytest

from tfscale.gradients.buckets import Piece, plan


def _sizes(buckets):
    return [sum(piece.stop - piece.start for piece in bucket) for bucket in buckets]


def test_the_last_tensor_leaves_first():
    assert plan([2, 3, 4], 4) == [(Piece(2, 0, 4),), (Piece(1, 0, 3),), (Piece(0, 0, 2),)]


def test_what_fits_one_bucket_travels_in_one():
    assert plan([4, 1, 5], 10) == [(Piece(2, 0, 5), Piece(1, 0, 1), Piece(0, 0, 4))]


def test_buckets_become_smaller_towards_the_end_which_nothing_hides():
    assert _sizes(plan([1] * 24, 6)) == [6, 6, 6, 3, 1, 1, 1]
    assert _sizes(plan([1] * 24, 12)) == [12, 6, 6]  # of which 6 wait as long as they travel


def test_a_tensor_that_is_too_large_is_split_evenly_into_buckets_of_its_own():
    assert plan([2, 10, 2], 4) == [
        (Piece(2, 0, 2),),
        (Piece(1, 0, 3),),
        (Piece(1, 3, 6),),
        (Piece(1, 6, 10),),
        (Piece(0, 0, 2),),
    ]


def test_a_small_tensor_lets_large_ones_pass_and_goes_with_other_small_ones():
    sizes = [16, 1, 16, 1, 16, 16]
    assert plan(sizes, 16) == [
        (Piece(5, 0, 16),),
        (Piece(4, 0, 16),),
        (Piece(2, 0, 16),),
        (Piece(3, 0, 1), Piece(1, 0, 1)),
        (Piece(0, 0, 16),),
    ]


def test_nothing_makes_no_bucket():
    assert plan([], 4) == []


@pytest.mark.parametrize("seed", range(20))
def test_every_element_is_in_one_bucket_and_no_bucket_is_too_large(seed):
    generator = random.Random(seed)
    sizes = [generator.choice([0, 1, 5, 64, 1000]) for _ in range(generator.randint(1, 30))]
    limit = generator.choice([1, 3, 64, 500, 10_000])
    buckets = plan(sizes, limit)
    assert max(_sizes(buckets), default=0) <= limit
    seen = [(p.tensor, n) for b in buckets for p in b for n in range(p.start, p.stop)]
    assert sorted(seen) == [(t, n) for t, size in enumerate(sizes) for n in range(size)]
    ready = [min(piece.tensor for piece in bucket) for bucket in buckets]
    assert ready == sorted(ready, reverse=True)
