"""Pairs of a batch are mixed, and the same on any number of replicas."""

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.augment.mixing import beta, cutmix, mixup
from tfscale.errors import ConfigError

BATCH = 8
RNG = np.random.default_rng(0)
X = tf.constant(RNG.random((BATCH, 12, 10, 3), dtype=np.float32))
Y = tf.one_hot(tf.range(BATCH), BATCH)
SEEDS = RNG.integers(0, 2**31, (200, 2)).astype(np.int32)
PARTNERS = np.arange(BATCH) ^ 1


@pytest.mark.parametrize("mix", [mixup, cutmix])
@pytest.mark.parametrize("replicas", [2, 4])
def test_a_global_batch_is_mixed_the_same_on_any_number_of_replicas(mix, replicas):
    whole = mix(X, Y, SEEDS[0], alpha=1.0)
    size = BATCH // replicas
    parts = [
        tf.function(mix)(X[first : first + size], Y[first : first + size], SEEDS[0], alpha=1.0)
        for first in range(0, BATCH, size)
    ]
    for together, split in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(together, np.concatenate(split))


def test_mixup_is_a_mean_of_an_example_and_its_neighbour():
    x, y = mixup(X, Y, SEEDS[0], alpha=1.0)
    share = float(y[0, 0])
    assert 0.0 < share < 1.0
    np.testing.assert_allclose(x, share * X + (1 - share) * X.numpy()[PARTNERS], rtol=1e-5)
    np.testing.assert_allclose(y, share * Y + (1 - share) * Y.numpy()[PARTNERS], rtol=1e-5)


def test_cutmix_takes_a_rectangle_of_the_neighbour_and_its_share_of_the_label():
    inside = 0
    for seed in SEEDS[:40]:
        x, y = cutmix(X, Y, seed)
        from_partner = (x.numpy() == X.numpy()[PARTNERS]).all(axis=-1)
        assert ((x == X).numpy().all(axis=-1) | from_partner).all()
        (taken,) = {one.tobytes(): one for one in from_partner}.values()
        assert taken.sum() == taken.any(axis=1).sum() * taken.any(axis=0).sum()
        np.testing.assert_allclose(y.numpy()[0, 1], taken.mean(), atol=1e-6)
        np.testing.assert_allclose(y.numpy().sum(axis=1), 1.0, atol=1e-6)
        inside += 0 < taken.mean() < 1
    assert inside > 25


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_numbers_differ_from_seed_to_seed_and_not_from_call_to_call(mix):
    made = [mix(X, Y, seed, alpha=1.0)[1].numpy().tobytes() for seed in SEEDS[:10]]
    assert len(set(made)) >= 9
    assert made[0] == mix(X, Y, SEEDS[0], alpha=1.0)[1].numpy().tobytes()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_are_of_the_beta_distribution(alpha):
    shares = np.array([beta(seed, alpha, "mixup") for seed in SEEDS])
    assert abs(shares.mean() - 0.5) < 0.1
    expected = 1 / (4 * (2 * alpha + 1))
    assert 0.75 * expected < shares.var() < 1.25 * expected


def test_a_share_of_a_tiny_alpha_is_still_a_number():
    shares = np.array([beta(seed, 1e-3, "mixup") for seed in SEEDS])
    assert ((shares >= 0) & (shares <= 1)).all()


def test_whole_numbers_of_pixels_stay_in_their_dtype_and_range():
    images = tf.constant(RNG.integers(0, 256, (4, 5, 5, 3), dtype=np.uint8))
    x, y = mixup(images, Y[:4], SEEDS[1], alpha=1.0)
    assert (x.dtype, y.dtype) == (tf.uint8, tf.float32)
    share = float(y[0, 0])
    mean = share * images.numpy() + (1 - share) * images.numpy()[PARTNERS[:4]]
    assert np.abs(x.numpy() - mean).max() <= 0.51
    assert cutmix(images, Y[:4], SEEDS[1])[0].dtype == tf.uint8


def test_inputs_and_labels_may_have_several_parts():
    x, y = mixup({"a": X, "b": X[:, 0]}, {"c": Y}, SEEDS[0])
    assert set(x) == {"a", "b"}
    assert set(y) == {"c"}
    assert x["b"].shape == X[:, 0].shape


@pytest.mark.parametrize(
    ("mix", "x", "y", "alpha", "words"),
    [
        (mixup, X, tf.range(BATCH), 0.2, "tf.one_hot"),
        (cutmix, X, tf.range(BATCH), 0.2, "tf.one_hot"),
        (mixup, tf.range(BATCH), Y, 0.2, "got x of int32"),
        (mixup, X[:3], Y[:3], 0.2, "got 3 examples of a replica; expected an even number"),
        (cutmix, X[:3], Y[:3], 0.2, "got 3 examples of a replica; expected an even number"),
        (cutmix, X[:, 0], Y, 0.2, "expected one tensor"),
        (cutmix, {"a": X}, Y, 0.2, "got x of several tensors"),
        (mixup, X, Y, 0.0, "alpha=0.0; expected a number above 0"),
    ],
)
def test_what_cannot_be_mixed_is_refused(mix, x, y, alpha, words):
    with pytest.raises(ConfigError, match=words):
        mix(x, y, SEEDS[0], alpha)
