"""The end of an on-device loop of training, where workers tell each other what isn't gradients."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfscale.fit.loop.events import Boundary
from tfscale.fit.loop.verdict import Verdict
from tfscale.fit.metrics.metric_totals import MetricTotals
from tfscale.fit.metrics.packing import Packing
from tfscale.fit.state.replica_state import ReplicaStatistics
from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.gradients.timing import CommunicationTimes
from tfscale.gradients.wires import ring_bytes
from tfscale.structures import Json

_OWN_COLUMNS = 4  # of a worker's row, before its figures
_LEAST_SECONDS = 1e-6  # what the clock can tell


class Exchange:
    """The boundary's one all-reduce.

    Args:
        strategy: of the job.
        totals: metric variables, to be summed.
        communication: how long gradients travelled.
        worker: global rank of this worker.
        num_workers: of the job.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        totals: MetricTotals,
        communication: CommunicationTimes,
        *,
        worker: int,
        num_workers: int,
    ) -> None:
        self.sent_bytes = 0.0
        self._strategy = strategy
        self._totals = totals
        self._communication = communication
        self._worker = worker
        self._num_workers = num_workers

    def __call__(
        self,
        started: tf.Tensor,
        own_figures: tf.Tensor,
        statistics: ReplicaStatistics,
        custom: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Called outside of the replicas, after the loop.

        Args:
            started: when the loop began, float64 seconds.
            own_figures: float64 (1 + n,): how long it waited for input, and this worker's figures;
                of what the loop gives, so that they are there when it is over.
            statistics: of batches, to be averaged; every replica gets the means.
            custom: numbers to be averaged over replicas.

        Returns:
            Packed metric totals; float64 (num_workers, 4 + n) with seconds, seconds of
            waiting for input, of exposed and of all communication, and each worker's figures; the
            averages. The same on every replica.
        """
        shapes = Packing([value.shape for value in custom])
        parts = self._parts(statistics, int(own_figures.shape[0]), sum(shapes.sizes))
        replicas = self._strategy.num_replicas_in_sync
        self.sent_bytes = ring_bytes(8 * sum(parts.sizes), replicas)

        def on_replica() -> tf.Tensor:
            totals = self._totals.local()
            # Totals may be on a GPU, which takes its time; not all models write any in the loop.
            with tf.control_dependencies([own_figures, *totals]):
                seconds = tf.timestamp() - started
            packed = parts.pack(
                [
                    self._totals.packing.pack(totals),
                    statistics.packing.pack(statistics.local()),
                    self._own_row(seconds, own_figures),
                    shapes.pack(custom) / replicas,
                ]
            )
            if replicas == 1:
                return packed
            return sum_over_replicas(packed)

        summed = self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]
        totals, means, rows, averages = parts.unpack(summed)
        statistics.assign(statistics.packing.unpack(means))
        return totals, rows, shapes.unpack(averages)

    def _parts(self, statistics: ReplicaStatistics, own_figures: int, custom: int) -> Packing:
        """What lies where in the one vector that travels."""
        return Packing(
            [
                [sum(self._totals.packing.sizes)],
                [sum(statistics.packing.sizes)],
                [self._num_workers, _OWN_COLUMNS - 1 + own_figures],
                [custom],
            ]
        )

    def _own_row(self, seconds: tf.Tensor, own_figures: tf.Tensor) -> tf.Tensor:
        """This worker's row among zeros, which its first replica alone contributes."""
        context = tf.distribute.get_replica_context()
        waited, figures = own_figures[:1], own_figures[1:]
        row = tf.concat([[seconds], waited, self._communication.local(), figures], axis=0)
        local_replicas = context.num_replicas_in_sync // self._num_workers
        is_first = context.replica_id_in_sync_group % local_replicas == 0
        mine = tf.one_hot(self._worker, self._num_workers, dtype=tf.float64)[:, tf.newaxis] * row
        return tf.where(is_first, mine, tf.zeros_like(mine))


def boundary_of(
    rows: np.ndarray, *, logs: Mapping[str, Json], verdict: Verdict, is_warm: bool
) -> Boundary:
    """The event of what `Exchange` brought, float64 (num_workers, 4 + figures).

    Whoever sets a machine's clock back must not end a training whose loops last less than 0 s.

    Args:
        rows: of each worker.
        logs: of the loop.
        verdict: about the loop, which knows its place in the run.
        is_warm: False for a loop that includes tracing.
    """
    times = np.maximum(rows[:, :_OWN_COLUMNS], [_LEAST_SECONDS, 0.0, 0.0, 0.0])
    return Boundary(
        verdict.before + verdict.steps,
        verdict.steps,
        seconds=times[:, 0],
        input_wait_seconds=times[:, 1],
        exposed_seconds=times[:, 2],
        travel_seconds=times[:, 3],
        figures=rows[:, _OWN_COLUMNS:],
        is_warm=is_warm,
        logs=logs,
        verdict=verdict,
    )
