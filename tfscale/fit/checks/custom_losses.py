"""Whether a loss that somebody wrote is a mean over examples or a sum: found out on real examples.

Keras's own losses say which they are. A number by hand doesn't: over several replicas a mean is
averaged, and a sum is as many times larger as there are replicas.
"""

import keras
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.keras.install import (
    has_loss_of_batch,
    has_own_loss,
    has_own_train_step,
    own_compiled_losses,
)
from tfscale.fit.keras.trial_step import halves_and_whole, refused_if_it_fails, try_step
from tfscale.structures import Structure

_EXAMPLES = 2
_WHAT = "The model's loss is its own, and trying it on a few examples"
_ANY_NUMBER = (
    "a loss for any number of examples. Let it take batches of any size, or use a loss of Keras's."
)
_TOLERANCE = 0.02  # of bfloat16
_EXACT = 1e-4  # of float32, where a loss of a batch may be close to the mean of its parts


def numbers_are_sums(model: keras.Model, first: Structure, *, replicas: int) -> bool:
    """Whether the numbers that own losses give are sums over examples.

    The same examples twice leave a mean what it is, and double a sum; a loss of a batch as a whole
    may do something between, and is averaged like a mean.

    Args:
        model: built, in the scope of the strategy that this is called in.
        first: a few real examples, stacked; the same on every worker.
        replicas: of the job; with one there is nothing to find out.

    Raises:
        ConfigError: the loss grows faster, or is a sum where its parts can't be told apart.
    """
    own, writes_step = own_compiled_losses(model), _writes_step(model)
    if replicas == 1 or not (own or writes_step):
        return False
    with refused_if_it_fails(_WHAT, _ANY_NUMBER):
        losses = {times: _losses(model, first, times) for times in (1, 2, 4)}
        is_random = _is_random(model, first)
    kinds = [_kind(*of_one, is_random=is_random) for of_one in zip(*losses.values(), strict=False)]
    if all(kind in ("mean", "batch") for kind in kinds):
        return False
    if kinds == ["sum"] and len(own) == 1 and not writes_step:
        return True
    raise ConfigError(
        "The model's loss grows with the number of examples: the same ones once, twice and four "
        f"times give {_shown(losses)}; expected their mean, because losses are averaged over "
        "replicas. Use ops.mean over the examples, or a loss of Keras's with reduction='sum' in "
        "compile."
    )


def depends_on_batch(
    model: keras.Model, first: Structure, *, replicas: int, are_sums: bool
) -> bool:
    """Whether a loss of a batch isn't the mean, or the sum, of the losses of its parts.

    Then each replica has that of its own part, and their mean depends on how many there are.

    Args:
        model: built, in the scope of the strategy that this is called in.
        first: a few real examples, stacked; the same on every worker.
        replicas: of the job; with one there are no parts.
        are_sums: what `numbers_are_sums` has found.

    Raises:
        ConfigError: the loss fails.
    """
    may_depend = own_compiled_losses(model) or _writes_step(model) or has_loss_of_batch(model)
    if replicas == 1 or not halves_and_whole(first) or not may_depend:
        return False
    with refused_if_it_fails(_WHAT, _ANY_NUMBER):
        if _is_random(model, first):
            return False
        # One pair of halves may happen to give the loss of the whole; hardly two of them.
        return any(_differs(model, first, dealt, are_sums) for dealt in (False, True))


def _differs(model: keras.Model, first: Structure, dealt: bool, are_sums: bool) -> bool:
    """Whether two halves of the examples have other losses than the whole."""
    batches = halves_and_whole(first, dealt=dealt)
    *parts, whole = [try_step(model.train_step, [batch], []) for batch in batches]
    if whole.asks:  # all replicas count together
        return False
    tolerance = _EXACT if model.compute_dtype in ("float32", "float64") else _TOLERANCE
    for one, other, found in zip(*(part.losses for part in parts), whole.losses, strict=False):
        expected = (one + other) / (1 if are_sums else 2)
        if abs(found - expected) > tolerance * max(abs(found), abs(expected)):
            return True
    return False


def _writes_step(model: keras.Model) -> bool:
    return has_own_train_step(model) or has_own_loss(model)


def _repeated(first: Structure, times: int) -> Structure:
    """A batch that has the first few examples so many times."""
    return tf.nest.map_structure(lambda leaf: tf.concat([leaf[:_EXAMPLES]] * times, axis=0), first)


def _losses(model: keras.Model, first: Structure, times: int) -> tuple[float, ...]:
    """What the training step takes gradients of, for the same examples so many times."""
    return tuple(try_step(model.train_step, [_repeated(first, times)], []).losses)


def _is_random(model: keras.Model, first: Structure) -> bool:
    """Whether a second step on the same examples has another loss."""
    batch = _repeated(first, 1)
    found = try_step(model.train_step, [batch, batch], []).losses
    return found[: len(found) // 2] != found[len(found) // 2 :]


def _kind(once: float, twice: float, four: float, *, is_random: bool) -> str:
    """ "mean", "sum", "batch" for what grows less than a sum does, or "" for what grows more."""
    if is_random:  # other random numbers for another batch: near enough is all there is
        return "mean" if abs(four) < 2 * abs(once) else "sum" if abs(four) > 3.3 * abs(once) else ""
    near = _TOLERANCE * max(abs(once), abs(four))
    if abs(four - once) <= near and abs(twice - once) <= near:
        return "mean"
    # A sum and what doesn't depend on the examples, such as a regularization, lie on a line.
    first, then = twice - once, four - twice
    if abs(then - 2 * first) <= near:
        return "sum"
    # A term that smooths a quotient (Dice + 1), or a softmax over the batch: that grows like log n.
    return "batch" if abs(then) < 1.6 * abs(first) else ""


def _shown(losses: dict[int, tuple[float, ...]]) -> str:
    return "; ".join(", ".join(f"{value:.4g}" for value in found) for found in losses.values())
