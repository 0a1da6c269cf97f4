"""Bytes on their way between workers, through the all-reduces that gradients travel through.

What one worker or replica has alone is summed with the others' zeros, word by word, so that it
arrives bit for bit. The board's store is for short texts; this is for arrays.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.structures import Foreign

_MOST_WORDS = 2**22  # of four bytes, in one all-reduce


class Carrier:
    """Carries bytes; all workers call the same methods in the same order.

    Args:
        strategy: of the job.
        worker: rank of this one.
        num_workers: of the job.
    """

    def __init__(self, strategy: tf.distribute.Strategy, worker: int, num_workers: int) -> None:
        self._strategy = strategy
        self.worker, self.num_workers = worker, num_workers
        self._replicas = strategy.num_replicas_in_sync
        self._local = self._replicas // num_workers
        signature = [tf.TensorSpec([None, None], tf.int32)]
        self._sum = tf.function(self._sum_rows, input_signature=signature, autograph=False)

    def of_all_replicas(self, parts: Sequence[bytes]) -> list[bytes]:
        """What each replica has, on every worker.

        Args:
            parts: of this worker's replicas, in their order; of one length on all of them.
        """
        if self.num_workers == 1:
            return list(parts)
        size = len(parts[0])
        found = [bytearray() for _ in range(self._replicas)]
        for words in _pieces(parts, _MOST_WORDS // self._replicas):
            rows = np.zeros([self._local, self._replicas, words.shape[1]], np.int32)
            for number in range(self._local):
                rows[number, self.worker * self._local + number] = words[number]
            summed = self._sum(tf.constant(rows.reshape([self._local, -1]))).numpy()
            for joined, row in zip(found, summed.reshape([self._replicas, -1]), strict=True):
                joined += row.tobytes()
        return [bytes(joined[:size]) for joined in found]

    def from_chief(self, data: bytes | None) -> bytes:
        """What the chief has, on every worker.

        Args:
            data: on the chief; None elsewhere.
        """
        if data is not None and self.num_workers == 1:
            return data
        own = data or b""
        # The others don't know how much there is.
        (length,) = _pieces([len(own).to_bytes(8, "little")], 2)
        size = int.from_bytes(self._chiefs(length).tobytes(), "little")
        found = bytearray()
        if data is None:
            sizes = [_MOST_WORDS * 4] * (size // (_MOST_WORDS * 4)) + [size % (_MOST_WORDS * 4)]
            pieces = [np.zeros([1, -(-part // 4)], np.int32) for part in sizes if part]
        else:
            pieces = list(_pieces([own], _MOST_WORDS))
        for piece in pieces:
            found += self._chiefs(piece).tobytes()
        return bytes(found[:size])

    def _chiefs(self, words: np.ndarray) -> np.ndarray:
        """The chief's words (1, n), which its first replica contributes; (n,)."""
        rows = np.zeros([self._local, words.shape[1]], np.int32)
        if self.worker == 0:
            rows[0] = words[0]
        summed: np.ndarray = self._sum(tf.constant(rows)).numpy()
        return summed

    def _sum_rows(self, rows: tf.Tensor) -> tf.Tensor:
        """The sum over all replicas of int32 (local replicas, n): (n,)."""

        def on_replica(given: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return sum_over_replicas(given[context.replica_id_in_sync_group % self._local])

        summed: Foreign = self._strategy.run(on_replica, args=(rows,))
        return self._strategy.experimental_local_results(summed)[0]


def _pieces(parts: Sequence[bytes], most_words: int) -> Foreign:
    """Bytes of one length as int32 (len(parts), n), some words at a time."""
    size = len(parts[0])
    for first in range(0, size, 4 * most_words):
        rows = []
        for part in parts:
            piece = part[first : first + 4 * most_words]
            rows.append(np.frombuffer(piece + bytes(-len(piece) % 4), np.int32))
        yield np.stack(rows)
