"""How a bucket of gradients is sent: as it is, in 16 bits, in 8, or only its largest elements.

`send(flat, reduce)` sums a bucket over all replicas. What it gives besides the sum is what this
replica's part of it was, so that `flat - own` is what got lost on the way, and can be added to the
next step's gradients (error feedback: Karimireddy et al. 2019, arXiv:1901.09847).
"""

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from tfscale.errors import ConfigError

# Sums a tensor over all replicas; of IndexedSlices it gathers all rows.
Reduce = Callable[[Any], Any]
_FLOAT16_BITS = 15  # sums stay below 2 ** 15, half of what a float16 holds
_MOST_INT8_REPLICAS = 64
_TOPK_SHARE = 0.05


class Wire(Protocol):
    """A way to send.

    Attributes:
        name: for the reader.
        is_lossy: whether what gets lost is to be added to the next step.
    """

    name: str
    is_lossy: bool

    def send(self, flat: tf.Tensor, reduce: Reduce) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Sums float32 or float64 (n,) over the replicas.

        Returns:
            The sum, and this replica's part of it (None where nothing is fed back).
        """

    def bytes_sent(self, elements: int, itemsize: int, replicas: int) -> float:
        """Bytes that one replica sends for a bucket, in a ring or by gathering."""


def make_wire(dtype: str, compress: str, replicas: int) -> Wire:
    """The wire that a run asks for.

    Raises:
        ConfigError: int8 with more replicas than sums of 8 bits can hold.
    """
    if compress == "int8":
        if replicas > _MOST_INT8_REPLICAS:
            raise ConfigError(
                f"--compress=int8 sums {replicas} replicas in 8 bits; expected at most "
                f"{_MOST_INT8_REPLICAS}. Use --compress=topk or --wire_dtype=bfloat16."
            )
        return Int8(replicas)
    if compress == "topk":
        return TopK(_TOPK_SHARE)
    by_dtype: dict[str, Wire] = {
        "float32": AsIs(),
        "bfloat16": Bfloat16(),
        "float16": Float16(),
    }
    return by_dtype[dtype]


def ring_bytes(size: float, replicas: int) -> float:
    """What each replica of a ring all-reduce sends of `size` bytes."""
    return 2 * (replicas - 1) / replicas * size


class AsIs:
    """Exact but for the order of the sum."""

    name = "float32"
    is_lossy = False

    def send(self, flat: tf.Tensor, reduce: Reduce) -> tuple[tf.Tensor, None]:
        """Sums in the dtype of the gradients."""
        return reduce(flat), None

    def bytes_sent(self, elements: int, itemsize: int, replicas: int) -> float:
        """Every element with all its digits."""
        return ring_bytes(elements * itemsize, replicas)


class Bfloat16:
    """8 bits of mantissa, and the range of float32."""

    name = "bfloat16"
    is_lossy = False

    def send(self, flat: tf.Tensor, reduce: Reduce) -> tuple[tf.Tensor, None]:
        """Sums in bfloat16."""
        return tf.cast(reduce(tf.cast(flat, tf.bfloat16)), flat.dtype), None

    def bytes_sent(self, elements: int, itemsize: int, replicas: int) -> float:
        """Two bytes an element."""
        return ring_bytes(elements * 2, replicas)


class Float16:
    """11 bits of mantissa; scaled by a power of two, so that no sum overflows.

    The scale comes from the sum over replicas of each one's largest magnitude, which bounds every
    element of the sum. What isn't finite stays so.
    """

    name = "float16"
    is_lossy = False

    def send(self, flat: tf.Tensor, reduce: Reduce) -> tuple[tf.Tensor, None]:
        """Sums in float16, scaled."""
        bound = reduce(tf.reduce_max(tf.abs(tf.cast(flat, tf.float32)))[tf.newaxis])[0]
        up, down = _powers(bound)
        sent = tf.cast(tf.cast(flat, tf.float32) * up, tf.float16)
        return tf.cast(tf.cast(reduce(sent), tf.float32) * down, flat.dtype), None

    def bytes_sent(self, elements: int, itemsize: int, replicas: int) -> float:
        """Two bytes an element, and the bound."""
        return ring_bytes(elements * 2 + 4, replicas)


class Int8:
    """A quarter of float32: whole numbers of 8 bits, four in each int32 of an ordinary all-reduce.

    All replicas round to the same steps, as wide as the bound of Float16 needs for the sum to fit
    into 8 bits, so that sums of packed numbers are packed sums (integer all-reduce as in IntSGD,
    Mishchenko et al. 2021, arXiv:2102.08374).

    Args:
        replicas: that are summed.
    """

    name = "int8"
    is_lossy = True

    def __init__(self, replicas: int) -> None:
        """Leaves room for every replica's rounding by half a step."""
        self._levels = 127 - replicas / 2

    def send(self, flat: tf.Tensor, reduce: Reduce) -> tuple[tf.Tensor, tf.Tensor]:
        """Sums in steps of 1/levels of the bound."""
        values = tf.cast(flat, tf.float32)
        bound = reduce(tf.reduce_max(tf.abs(values))[tf.newaxis])[0]
        step = bound / self._levels
        is_usable = tf.math.is_finite(bound) & (step > 0)
        numbers = tf.round(values / tf.where(is_usable, step, 1.0))
        numbers = tf.where(is_usable, numbers, tf.zeros_like(numbers))
        total = _unpacked(reduce(_packed(numbers)), int(flat.shape[0])) * step
        # A bound that isn't finite makes every element so: the finite check sees it.
        return tf.cast(total, flat.dtype), tf.cast(numbers * step, flat.dtype)

    def bytes_sent(self, elements: int, itemsize: int, replicas: int) -> float:
        """One byte an element, and the bound."""
        return ring_bytes(4 * -(-elements // 4) + 4, replicas)


class TopK:
    """Only the elements of largest magnitude, with their places.

    Source: Aji and Heafield 2017 (arXiv:1704.05021), with the error feedback of Stich et al. 2018
    (arXiv:1809.07599).

    Args:
        share: of the elements that is sent.
    """

    name = "topk"
    is_lossy = True

    def __init__(self, share: float) -> None:
        self._share = share

    def send(self, flat: tf.Tensor, reduce: Reduce) -> tuple[tf.Tensor, tf.Tensor]:
        """Gathers every replica's largest elements and sums them."""
        size = int(flat.shape[0])
        # What isn't finite must be among what is sent, or nobody would notice.
        magnitude = tf.where(tf.math.is_finite(flat), tf.abs(flat), flat.dtype.max)
        places = tf.math.top_k(magnitude, self._count(size), sorted=False).indices
        values = tf.gather(flat, places)
        rows = reduce(tf.IndexedSlices(values, places, tf.constant([size])))
        total = tf.math.unsorted_segment_sum(rows.values, rows.indices, size)
        return total, tf.math.unsorted_segment_sum(values, places, size)

    def bytes_sent(self, elements: int, itemsize: int, replicas: int) -> float:
        """A value and a place of each, to every other replica."""
        return (replicas - 1) * self._count(elements) * (itemsize + 4)

    def _count(self, size: int) -> int:
        return max(1, round(size * self._share))


def _powers(bound: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A power of two by which `bound` comes just below 2 ** 15, and its inverse, both exact."""
    bits = tf.bitcast(bound, tf.int32)
    exponent = tf.bitwise.right_shift(bits, 23) - 127  # bound < 2 ** (exponent + 1)
    shift = tf.clip_by_value(_FLOAT16_BITS - 1 - exponent, -120, 120)
    is_usable = tf.math.is_finite(bound) & (bound > 0)
    shift = tf.where(is_usable, shift, 0)
    return _power_of_two(shift), _power_of_two(-shift)


def _power_of_two(exponent: tf.Tensor) -> tf.Tensor:
    return tf.bitcast(tf.bitwise.left_shift(exponent + 127, 23), tf.float32)


def _packed(numbers: tf.Tensor) -> tf.Tensor:
    """Four whole numbers, the sum of whose replicas is within 127, in each int32."""
    size = int(numbers.shape[0])
    lanes = tf.reshape(tf.pad(tf.cast(numbers, tf.int32), [[0, -size % 4]]), [-1, 4])
    return tf.reduce_sum(lanes * [1, 2**8, 2**16, 2**24], axis=1)


def _unpacked(packed: tf.Tensor, size: int) -> tf.Tensor:
    """float32 (size,) of summed lanes; a bias makes each lane a byte of its own."""
    biased = tf.cast(tf.cast(packed, tf.int64) + 0x80808080, tf.uint32)
    lanes = tf.cast(tf.reshape(tf.bitcast(biased, tf.uint8), [-1]), tf.float32) - 128.0
    return lanes[:size]
