"""A loss that somebody wrote is a mean or a sum over examples, or of a batch as a whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tfscale.errors import ConfigError
from tfscale.fit.checks.build import build_steps
from tfscale.fit.checks.custom_losses import depends_on_batch, numbers_are_sums

GENERATOR = np.random.default_rng(0)
SPEC = tf.TensorSpec((4, 3), tf.float32), tf.TensorSpec((4, 2), tf.float32)
FIRST = (
    tf.constant(GENERATOR.normal(size=(8, 3)), tf.float32),
    tf.constant(GENERATOR.uniform(size=(8, 2)), tf.float32),
)


class ByHand(keras.Model):
    """Writes its loss itself."""

    def __init__(self, loss_of):
        super().__init__()
        self.dense = keras.layers.Dense(2, activation="sigmoid")
        self.loss_of = loss_of

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.loss_of(y, y_pred)


def _mean(y, p):
    return ops.mean(ops.square(y - p))


def _sum(y, p):
    return ops.sum(ops.square(y - p))


def _dice(y, p):
    return 1 - 2 * ops.sum(y * p) / (ops.sum(y) + ops.sum(p))


def _smooth_dice(y, p):
    return 1 - (2 * ops.sum(y * p) + 1) / (ops.sum(y) + ops.sum(p) + 1)


def _smooth_tversky(y, p):
    hit, missed, wrong = ops.sum(y * p), ops.sum(y * (1 - p)), ops.sum((1 - y) * p)
    return 1 - (hit + 5.0) / (hit + 0.3 * missed + 0.7 * wrong + 5.0)


def _contrastive(y, p):
    """InfoNCE: each example against all of its batch, whose loss grows with its logarithm."""
    alike = ops.matmul(p, ops.transpose(y))
    return -ops.mean(ops.diagonal(ops.log_softmax(alike, axis=1)))


def _lovasz(y, p):
    """Lovasz hinge (Berman et al., arXiv 1705.08790) of the first output."""
    truth = ops.cast(y[:, 0] > 0.5, "float32")
    errors = 1.0 - (2.0 * p[:, 0] - 1.0) * (2.0 * truth - 1.0)
    order = ops.flip(ops.argsort(errors))
    errors, truth = ops.take(errors, order), ops.take(truth, order)
    total = ops.sum(truth)
    left = total - ops.cumsum(truth)
    jaccard = 1.0 - left / (total + ops.cumsum(1.0 - truth))
    steps = ops.concatenate([jaccard[:1], jaccard[1:] - jaccard[:-1]])
    return ops.sum(ops.relu(errors) * steps)


def _all_pairs(y, p):
    return ops.sum(ops.square(p[:, None] - p[None])) + ops.sum(ops.square(y - p))


def _found(loss, *layers, replicas=2, by_hand=False, seed=0):
    keras.utils.set_random_seed(seed)
    if by_hand:
        model = ByHand(loss)
        model.compile("sgd")
    else:
        dense = keras.layers.Dense(2, activation="sigmoid")
        model = keras.Sequential([keras.Input((3,)), *layers, dense])
        model.compile("sgd", loss)
    build_steps(model, SPEC, tf.distribute.get_strategy())
    are_sums = numbers_are_sums(model, FIRST, replicas=replicas)
    of_batch = depends_on_batch(model, FIRST, replicas=replicas, are_sums=are_sums)
    return are_sums, of_batch


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_mean_is_a_mean_whoever_writes_it(by_hand):
    assert _found(_mean, by_hand=by_hand) == (False, False)


def test_a_sum_is_told_from_a_mean():
    assert _found(_sum) == (True, False)
    with pytest.raises(ConfigError, match="grows with the number of examples"):
        _found(_sum, by_hand=True)


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        *[(_dice, False), (_dice, True), (keras.losses.Dice(), False), ("tversky", False)],
        *[(_smooth_dice, False), (_smooth_dice, True), (_smooth_tversky, False)],
        *[(_contrastive, False), (_contrastive, True), (_lovasz, False)],
    ],
)
def test_a_loss_of_a_batch_as_a_whole_is_noticed(loss, by_hand):
    assert _found(loss, by_hand=by_hand) == (False, True)
    assert _found(loss, by_hand=by_hand, replicas=1) == (False, False)


def test_halves_that_happen_to_give_the_loss_of_the_whole_are_not_believed():
    # With these weights the front and the back half are within 1e-4 of it.
    assert _found(keras.losses.Dice(), seed=67) == (False, True)


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_grows_faster_than_a_sum_is_refused(by_hand):
    with pytest.raises(ConfigError, match="grows with the number of examples"):
        _found(_all_pairs, by_hand=by_hand)


def test_kerass_means_are_not_tried():
    assert _found("mse") == (False, False)


def test_random_numbers_do_not_make_a_mean_a_loss_of_a_batch():
    assert _found(_mean, keras.layers.GaussianNoise(1.0)) == (False, False)
