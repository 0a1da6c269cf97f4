"""MixUp and CutMix: pairs of a batch, the same on any number of replicas.

A replica has only its own part of the global batch, so a partner from anywhere in the batch, as in
the papers' code, would mean another pair on another number of replicas. Here examples 0 and 1 of
the global batch are a pair, 2 and 3, and so on. A replica batch is a contiguous part of the global
batch: it has whole pairs if it is even, whatever the number of replicas. As the order of an epoch
is a random one, the partner is random too. How strongly, and which rectangle, is drawn once for
the whole batch, as in the papers' code. So the result is a function of (seed, epoch, step) if all
replicas of a step give the same seed: it must not depend on worker or replica. Streams and files,
whose order depends on the number of workers, pair as they come.

Mixed labels are no classes: y has to be one-hot, and a training's accuracy is against the stronger
one of the two.
"""

import tensorflow as tf

from tfscale.data.augment.draws import derived
from tfscale.data.augment.pixels import rounded
from tfscale.errors import ConfigError
from tfscale.structures import Structure


@tf.autograph.experimental.do_not_convert
def mixup(
    x: Structure, y: Structure, seed: tf.Tensor, alpha: float = 0.2
) -> tuple[Structure, Structure]:
    """Makes of each pair two weighted means of both (Zhang et al., "mixup", 2018).

    Example i becomes `share * i + (1 - share) * partner`, x and y alike.

    Args:
        x: tensors (n, ...) of floats or uint8, n even: a replica batch.
        y: tensors (n, ...) of floats, such as one-hot classes.
        seed: int32 (2,), the same for all replicas of a step.
        alpha: share is drawn from Beta(alpha, alpha); above 0.

    Returns:
        x and y, of the dtypes that came.

    Raises:
        ConfigError: y are numbers of classes, x are other integers, n is odd, or alpha not
            above 0.
    """
    _require_pairs(x, y, "mixup", alpha)
    share = beta(seed, alpha, "mixup")
    mixed = tf.nest.map_structure(lambda leaf: _mean(leaf, share), (x, y))
    return mixed[0], mixed[1]


@tf.autograph.experimental.do_not_convert
def cutmix(
    x: tf.Tensor, y: Structure, seed: tf.Tensor, alpha: float = 1.0
) -> tuple[tf.Tensor, Structure]:
    """Puts into each image the same rectangle of its partner's (Yun et al., "CutMix", 2019).

    Args:
        x: (n, height, width, channels) of any dtype, n even: a replica batch of images.
        y: tensors (n, ...) of floats, such as one-hot classes; mixed by the areas.
        seed: int32 (2,), the same for all replicas of a step.
        alpha: the area that stays is drawn from Beta(alpha, alpha) before the rectangle, whose
            centre may lie anywhere, is cut down to the image; above 0.

    Returns:
        x and y, of the dtypes that came.

    Raises:
        ConfigError: y are numbers of classes, x is no tensor of images, n is odd, or alpha not
            above 0.
    """
    if tf.nest.is_nested(x) or x.shape.rank != 4:
        came = "several tensors" if tf.nest.is_nested(x) else f"shape {x.shape}"
        raise ConfigError(
            f"cutmix got x of {came}; expected one tensor (batch, height, width, channels). Use "
            "mixup for anything else."
        )
    _require_pairs((), y, "cutmix", alpha)
    _require_even(x, "cutmix")
    rows, columns = _rectangle(tf.shape(x)[1:3], beta(seed, alpha, "cutmix"), seed)
    inside = rows[:, tf.newaxis] & columns[tf.newaxis, :]
    share = 1.0 - tf.reduce_mean(tf.cast(inside, tf.float32))
    mixed = tf.where(inside[tf.newaxis, ..., tf.newaxis], _partners(x), x)
    return mixed, tf.nest.map_structure(lambda leaf: _mean(leaf, share), y)


def beta(seed: tf.Tensor, alpha: float, purpose: str) -> tf.Tensor:
    """A float32 scalar of Beta(alpha, alpha), the same for the same seed and purpose.

    Args:
        seed: int32 (2,).
        alpha: above 0.
        purpose: the name of what is drawn.
    """
    # Of a small alpha both gammas may be below what float32 has.
    pair = tf.random.stateless_gamma([2], derived(seed, purpose), alpha, dtype=tf.float64)
    total = tf.reduce_sum(pair)
    return tf.cast(tf.where(total > 0.0, pair[0] / total, tf.ones_like(total)), tf.float32)


def _rectangle(sides: tf.Tensor, share: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Which rows, bool (height,), and columns, bool (width,), come from the partner."""
    centre = tf.random.stateless_uniform([2], derived(seed, "cutmix place"))
    half = tf.sqrt(1.0 - share) / 2.0
    found = []
    for axis in range(2):
        length = tf.cast(sides[axis], tf.float32)
        places = tf.cast(tf.range(sides[axis]), tf.float32)
        first, end = (tf.round((centre[axis] + side * half) * length) for side in (-1.0, 1.0))
        found.append((places >= first) & (places < end))
    return found[0], found[1]


def _mean(leaf: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    dtype = tf.float32 if leaf.dtype.is_integer else leaf.dtype
    weight, pixels = tf.cast(share, dtype), tf.cast(leaf, dtype)
    return rounded(weight * pixels + (1 - weight) * _partners(pixels), leaf.dtype)


def _partners(batch: tf.Tensor) -> tf.Tensor:
    """Each example's partner in its place: 1, 0, 3, 2 and so on."""
    count = tf.shape(batch)[0]
    pairs = tf.reshape(tf.range(count), [-1, 2])
    return tf.ensure_shape(tf.gather(batch, tf.reshape(pairs[:, ::-1], [-1])), batch.shape)


def _require_pairs(x: Structure, y: Structure, caller: str, alpha: float) -> None:
    if not alpha > 0.0:
        raise ConfigError(f"{caller} got alpha={alpha}; expected a number above 0, such as 0.2.")
    for name, leaf in [*_named("x", x), *_named("y", y)]:
        _require_even(leaf, caller)
        if leaf.dtype.is_floating or (name == "x" and leaf.dtype == tf.uint8):
            continue
        raise ConfigError(
            f"{caller} got {name} of {leaf.dtype.name}; expected floats, of which a mean can be "
            "made. Give classes as tf.one_hot(y, num_classes) in preprocess."
        )


def _require_even(leaf: tf.Tensor, caller: str) -> None:
    count = leaf.shape[0]
    if count is not None and count % 2:
        raise ConfigError(
            f"{caller} got {count} examples of a replica; expected an even number, because two "
            "neighbours are mixed. Use a --batch_size that is a multiple of twice the replicas."
        )


def _named(name: str, structure: Structure) -> list[tuple[str, tf.Tensor]]:
    return [(name, leaf) for leaf in tf.nest.flatten(structure)]
