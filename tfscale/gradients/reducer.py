"""How gradients travel: in buckets, the last layer's first, while backward computes the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.gradients import buckets
from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.gradients.timing import time_of
from tfscale.gradients.wires import Wire
from tfscale.structures import Foreign, Gradient


@dataclass(frozen=True)
class Traffic:
    """What one replica sends in a step.

    Args:
        buckets: all-reduces of gradients.
        gradient_bytes: of all gradients, before they are made smaller.
        sent_bytes: to other replicas.
        sparse: gradients of rows that travel as rows.
        densified: gradients of rows that travel as full gradients, because that is less.
    """

    buckets: int = 0
    gradient_bytes: int = 0
    sent_bytes: float = 0.0
    sparse: int = 0
    densified: int = 0

    @classmethod
    def sum_of(cls, parts: "Sequence[Traffic]") -> "Traffic":
        """That of several reducers together."""
        return cls(*(sum(getattr(part, one.name) for part in parts) for one in fields(cls)))


@dataclass(frozen=True)
class ReducerSettings:
    """How gradients travel.

    Args:
        bucket_bytes: gradients that travel together.
        wire: how they are sent.
        residuals: one variable for each gradient of a lossy wire, which keeps what got lost in
            a step for the next one; of each replica its own.
        observe: gets two float64 (buckets,): when each bucket was ready and when it was summed,
            in seconds since 1970, on this replica.
        may_add_rows: whether rows with the same index may be added up before the update, which
            then sees full gradients where these are fewer bytes.
    """

    bucket_bytes: int
    wire: Wire
    residuals: Sequence[tf.Variable] = ()
    observe: Callable[[tf.Tensor, tf.Tensor], None] | None = None
    may_add_rows: bool = True


class GradientReducer:
    """Sums gradients over all replicas.

    Args:
        way: how; the buckets are made when the gradients are known.
    """

    def __init__(self, way: ReducerSettings) -> None:
        self.traffic = Traffic()
        self.is_bypassed = False  # while it is, replicas train each for itself
        self._way = way

    @property
    def residuals(self) -> Sequence[tf.Variable]:
        """What each replica keeps back for the next step; none without a lossy wire."""
        return self._way.residuals

    def __call__(self, gradients: Sequence[Gradient]) -> list[Gradient]:
        """Sums each gradient over the replicas; None stays None. Called in replica context.

        Raises:
            ConfigError: the wire is lossy and these aren't the gradients of all weights.
        """
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1 or self.is_bypassed:
            return list(gradients)
        residuals = self._way.residuals
        if residuals and len(residuals) != len(gradients):
            raise ConfigError(
                f"The model's train_step updates {len(gradients)} of {len(residuals)} "
                "weights at a time; expected all with --compress. Leave --compress out."
            )
        reduced, self.traffic = _Reduction(self._way, context, gradients).run()
        return reduced


class _Reduction:
    """One tracing of the reducer."""

    def __init__(
        self,
        way: ReducerSettings,
        context: tf.distribute.ReplicaContext,
        gradients: Sequence[Gradient],
    ) -> None:
        self._way = way
        self._replicas = context.num_replicas_in_sync
        self._gradients: list[Gradient] = list(gradients)
        self._ready: list[tf.Tensor] = []
        self._done: list[tf.Tensor] = []
        self._sent_bytes = 0.0
        self._buckets = 0
        self._densified = 0

    def run(self) -> tuple[list[Gradient], Traffic]:
        rows = [number for number, g in enumerate(self._gradients) if self._is_sent_as_rows(g)]
        full: dict[tf.DType, list[int]] = {}
        for number, gradient in enumerate(self._gradients):
            if gradient is not None and number not in rows:
                self._gradients[number] = self._with_residual(number, gradient)
                full.setdefault(gradient.dtype, []).append(number)
        for numbers in full.values():
            self._sum_full(numbers)
        for number in rows:
            self._gradients[number] = self._sum_rows(self._gradients[number])
        if self._way.observe and self._ready:
            self._way.observe(tf.stack(self._ready), tf.stack(self._done))
        traffic = Traffic(
            buckets=self._buckets,
            gradient_bytes=sum(_full_bytes(g) for g in self._gradients if g is not None),
            sent_bytes=self._sent_bytes,
            sparse=len(rows),
            densified=self._densified,
        )
        return self._gradients, traffic

    def _is_sent_as_rows(self, gradient: Gradient) -> bool:
        """Whether rows are fewer bytes than the full gradient, both to all other replicas."""
        if not isinstance(gradient, tf.IndexedSlices):
            return False
        if self._way.residuals:
            self._densified += 1
            return False
        if not self._way.may_add_rows:
            return True
        count = gradient.values.shape.num_elements()
        shape = tf.get_static_value(gradient.dense_shape)
        if count is None or shape is None:
            return True
        size = gradient.dtype.size
        index_bytes = int(gradient.indices.shape[0]) * gradient.indices.dtype.size
        as_rows = (self._replicas - 1) * (count * size + index_bytes)
        as_full = self._way.wire.bytes_sent(int(shape.prod()), size, self._replicas)
        self._densified += as_full < as_rows
        return bool(as_rows <= as_full)

    def _sum_rows(self, gradient: tf.IndexedSlices) -> tf.IndexedSlices:
        values = gradient.values.shape.num_elements() or 0
        indices = gradient.indices.shape.num_elements() or 0
        size = values * gradient.dtype.size + indices * gradient.indices.dtype.size
        self._sent_bytes += (self._replicas - 1) * size
        return self._all_reduce(gradient)

    def _with_residual(self, number: int, gradient: Gradient) -> tf.Tensor:
        full = tf.convert_to_tensor(gradient)
        residuals = self._way.residuals
        if not residuals:
            return full
        full.set_shape(residuals[number].shape)  # of rows whose number isn't known, nor is it
        return full + tf.cast(residuals[number], full.dtype)

    def _sum_full(self, numbers: Sequence[int]) -> None:
        """Sums gradients of one dtype, bucket by bucket."""
        tensors = [self._gradients[number] for number in numbers]
        flat = [tf.reshape(tensor, [-1]) for tensor in tensors]
        itemsize = tensors[0].dtype.size
        limit = max(1, self._way.bucket_bytes // itemsize)
        parts: list[dict[int, tf.Tensor]] = [{} for _ in flat]
        lost: list[dict[int, tf.Tensor]] = [{} for _ in flat]
        for pieces in buckets.plan([int(f.shape[0]) for f in flat], limit):
            bucket = _joined([_cut(flat[piece.tensor], piece) for piece in pieces])
            total, own = self._send(bucket)
            sizes = [piece.stop - piece.start for piece in pieces]
            for piece, part in zip(pieces, _split(total, sizes), strict=True):
                parts[piece.tensor][piece.start] = part
            if own is not None:
                for piece, part in zip(pieces, _split(bucket - own, sizes), strict=True):
                    lost[piece.tensor][piece.start] = part
        for position, number in enumerate(numbers):
            shape = tensors[position].shape
            self._gradients[number] = tf.reshape(_in_order(parts[position]), shape)
            if self._way.residuals:
                self._keep(number, tf.reshape(_in_order(lost[position]), shape))

    def _send(self, bucket: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        wire = self._way.wire
        self._buckets += 1
        if self._way.observe:
            self._ready.append(time_of(bucket))
        total, own = wire.send(bucket, self._all_reduce)
        if self._way.observe:
            self._done.append(time_of(total))
        size = int(bucket.shape[0])
        self._sent_bytes += wire.bytes_sent(size, bucket.dtype.size, self._replicas)
        return total, own

    def _keep(self, number: int, lost: tf.Tensor) -> None:
        """Keeps what got lost; a step that isn't finite must not stay for ever."""
        residual = self._way.residuals[number]
        is_finite = tf.reduce_all(tf.math.is_finite(lost))
        residual.assign(tf.where(is_finite, tf.cast(lost, residual.dtype), residual))

    def _all_reduce(self, value: Foreign) -> Foreign:
        return sum_over_replicas(value)


def _full_bytes(gradient: Gradient) -> int:
    """Bytes of the gradient, or of its rows where it has only some."""
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    return int((values.shape.num_elements() or 0) * values.dtype.size)


def _cut(flat: tf.Tensor, piece: buckets.Piece) -> tf.Tensor:
    is_whole = piece.stop - piece.start == int(flat.shape[0])
    return flat if is_whole else flat[piece.start : piece.stop]


def _joined(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)


def _split(flat: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    return [flat] if len(sizes) == 1 else list(tf.split(flat, sizes))


def _in_order(parts: dict[int, tf.Tensor]) -> tf.Tensor:
    return _joined([parts[start] for start in sorted(parts)])
