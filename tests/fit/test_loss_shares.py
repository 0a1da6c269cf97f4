"""What a replica's rows are to a loss: the mean over replicas is the loss of the global batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit import loss_shares as share_module
from tfscale.fit.keras.loss_reduction import sharing
from tfscale.fit.loss_shares import EvenShare, RecordingShare, RowShare

Y = np.array([[0.0], [1.0], [2.0], [4.0], [1.0], [0.5], [3.0], [2.0]], np.float32)
P = np.array([[0.5], [1.0], [1.0], [1.0], [0.0], [2.0], [2.0], [5.0]], np.float32)
WEIGHTS = np.array([1.0, 0.0, 3.0, 0.5, 2.0, 1.0, 0.0, 4.0], np.float32)
MASK = np.array([1, 1, 0, 1, 0, 0, 0, 1], bool)


def _loss(loss, rows, *, weights=None, mask=None):
    predicted = tf.constant(P[rows])
    if mask is not None:
        predicted._keras_mask = tf.constant(mask[rows])
    own = None if weights is None else tf.constant(weights[rows])
    return loss(tf.constant(Y[rows]), predicted, own)


def _mean_over_replicas(monkeypatch, loss, parts, share_of, **given):
    """The rows-weighted mean of the losses of replicas, each of which may ask the others."""
    asked = []
    for part in parts:  # what each would tell the others, in the order of asking
        own = []
        monkeypatch.setattr(share_module, "mean_of_replicas", lambda v, own=own: own.append(v) or v)
        with sharing(share_of(part)):
            _loss(loss, part, **given)
        asked.append(own)
    means = [sum(float(v) for v in same) / len(parts) for same in zip(*asked, strict=True)]
    total = 0.0
    for part in parts:
        answers = iter(means)
        monkeypatch.setattr(
            share_module, "mean_of_replicas", lambda v, a=answers: tf.cast(next(a), v.dtype)
        )
        with sharing(share_of(part)):
            total += len(part) * float(_loss(loss, part, **given))
    return total / sum(map(len, parts))


KINDS = [
    ("sum_over_batch_size", {}),
    ("sum_over_batch_size", {"weights": WEIGHTS}),
    ("sum_over_batch_size", {"mask": MASK}),
    ("sum_over_batch_size", {"mask": MASK, "weights": WEIGHTS}),
    ("mean_with_sample_weight", {"weights": WEIGHTS}),
    ("mean_with_sample_weight", {"mask": MASK, "weights": WEIGHTS}),
    ("sum", {}),
    ("sum", {"weights": WEIGHTS}),
]


@pytest.mark.parametrize(("reduction", "given"), KINDS)
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_of_equal_size_have_the_loss_of_all(monkeypatch, reduction, given, replicas):
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    whole = float(_loss(loss, np.arange(8), **given))
    parts = np.split(np.arange(8), replicas)
    found = _mean_over_replicas(monkeypatch, loss, parts, lambda _: EvenShare(replicas), **given)
    assert found == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(("reduction", "given"), KINDS)
@pytest.mark.parametrize("sizes", [(4, 3), (4, 1), (2, 1)])
def test_replicas_with_fewer_rows_have_the_loss_of_all(monkeypatch, reduction, given, sizes):
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    edges = np.cumsum([0, *sizes])
    parts = [np.arange(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    whole = float(_loss(loss, np.arange(edges[-1]), **given))

    def share_of(part):
        return RowShare(2, tf.constant(len(part)))

    found = _mean_over_replicas(monkeypatch, loss, parts, share_of, **given)
    assert found == pytest.approx(whole, rel=1e-5)


def test_outside_of_a_step_losses_are_kerass():
    loss = keras.losses.MeanSquaredError(reduction="sum")
    assert float(_loss(loss, np.arange(8))) == pytest.approx(float(((Y - P) ** 2).sum()))


def test_what_is_asked_for_is_written_down():
    share = RecordingShare()
    with sharing(share):
        _loss(keras.losses.MeanSquaredError(), np.arange(8), mask=MASK)
    assert [float(own) for own in share.denominators] == [4.0]


def test_micro_batches_divide_by_what_the_whole_batch_has():
    share = EvenShare(1, totals=[tf.constant(6.0)], micro_batches=2)
    assert float(share.denominator(tf.constant(1.0))) == 3.0
    assert float(share.of_sum(tf.constant(1.0))) == 2.0


def test_xla_cannot_ask_the_others_and_says_so():
    with pytest.raises(ConfigError, match="which XLA can't ask for"):
        EvenShare(2, compiles=True).denominator(tf.constant(1.0))


def test_a_number_by_hand_is_a_mean_unless_it_was_found_to_be_a_sum():
    number = tf.constant(3.0)
    assert float(EvenShare(4).of_number(number)) == 3.0
    assert float(EvenShare(4, numbers_are_sums=True).of_number(number)) == 12.0


@pytest.mark.parametrize("size", [None, 8])
def test_the_average_of_tensorflows_tutorials_is_that_of_the_global_batch(size):
    errors = tf.constant([1.0, 2.0, 3.0, 6.0])  # of 8 in the global batch
    with sharing(EvenShare(2)):
        assert float(tf.nn.compute_average_loss(errors, global_batch_size=size)) == 3.0
        assert float(tf.nn.scale_regularization_loss(tf.constant([1.0, 2.0]))) == 3.0
