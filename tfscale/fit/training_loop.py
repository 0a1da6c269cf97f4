"""The on-device loop: many training steps, then the one all-reduce of a boundary."""

import time

import keras
import numpy as np
import tensorflow as tf

from tfscale.fit.boundary_exchange import Exchange, boundary_of
from tfscale.fit.guards.step_guard import COLUMNS, StepGuard
from tfscale.fit.keras.loops import Call
from tfscale.fit.loop.events import Boundary
from tfscale.fit.loop.input_wait import InputWait
from tfscale.fit.loop.verdict import Verdict
from tfscale.fit.metrics.step_logs import local_means
from tfscale.fit.parts import Parts
from tfscale.fit.state.replica_state import ReplicaStatistics
from tfscale.fit.state.stateful_random_ops import random_operations
from tfscale.fit.state.training_state import TrainingState
from tfscale.process.host_figures import HostFigures
from tfscale.startup.job import Job
from tfscale.structures import Foreign, Structure


class TrainingLoop:
    """Takes steps on the device; nothing but gradients crosses workers until it ends.

    Args:
        job: whose replicas train.
        model: compiled and built.
        parts: of its step.
        state: what steps change.

    Attributes:
        input_wait: for who looks while a loop runs.
        unrepeatable: operations of the traced step whose random numbers nobody can draw again.
        exchange: what a boundary sends.
        figures: of this worker's host.
        boundary_seconds: spent between loops so far, on this worker, tracing left out.
    """

    def __init__(self, job: Job, model: keras.Model, parts: Parts, state: TrainingState) -> None:
        self.input_wait, self.unrepeatable = InputWait(), list[str]()
        self.figures = HostFigures(job.devices.num_gpus)
        self.boundary_seconds = 0.0
        self._job, self._model = job, model
        self._parts, self._state = parts, state
        self._is_warm = False
        self.exchange = Exchange(
            job.strategy,
            parts.totals,
            parts.communication,
            worker=job.cluster.index,
            num_workers=job.cluster.num_workers,
        )
        self.guard(skips=job.config.on_nan == "skip")

    def guard(self, *, skips: bool) -> None:
        """Makes loops skip steps whose loss or gradients aren't finite, or only tell of them."""
        weights = self._model.trainable_variables
        self._guard = StepGuard(self._job.strategy, self._state, weights, skips=skips)
        self._loop = tf.function(self._train_steps, autograph=False)

    def take(self, call: Call, *, before: int) -> Boundary:
        """Takes the steps of a call; gives what they came to, the same on every worker.

        Args:
            call: the batches, and how many.
            before: training steps that have been taken.
        """
        called = time.perf_counter()
        figures = tf.constant(self.figures.measure(), tf.float64)
        iterator, steps = call.input.iterator, call.steps
        packed, rows, own, skipped = self._loop(iterator, tf.constant(steps), figures)
        rows, found = np.split(rows.numpy(), [-COLUMNS], axis=1)
        verdict = Verdict(before, steps, found, tuple(skipped.numpy().tolist()))
        totals, is_new = self._parts.totals.packing.unpack(packed), len(verdict.skipped) < steps
        logs = self._parts.logs.shown(totals, own, is_new=is_new)
        boundary = boundary_of(rows, logs=logs, verdict=verdict, is_warm=self._is_warm)
        if self._is_warm:
            spent = time.perf_counter() - called
            self.boundary_seconds += spent - float(boundary.seconds[self._job.cluster.index])
        self._is_warm = True
        return boundary

    def _train_steps(
        self, iterator: Foreign, steps: tf.Tensor, figures: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """Takes `steps` steps, then exchanges what a boundary exchanges.

        Returns:
            What `Exchange` gives; a worker's figures end with what the guard has found, and the
            averages are of what a train_step of the user's own returned in the last step, where it
            isn't the model's metrics. Then the places of skipped steps.
        """
        started, run = tf.timestamp(), self._job.strategy.run

        def body(number: tf.Tensor, own: Structure, lists: Structure) -> Structure:
            batch = self.input_wait.next_of(iterator)
            kept = self._guard.before()
            *picked, verdict = run(self._picked_step, args=(batch,))
            means = local_means(self._job.strategy, picked)
            self.unrepeatable = random_operations()
            own, lists = self._guard.after(number, verdict, lists, kept, (own, means))
            return number + 1, own, lists

        with tf.control_dependencies([started]):
            number = tf.constant(0)
            self.input_wait.reset()
            run(self._parts.communication.reset)
        nothing = [tf.zeros(shape, tf.float64) for shape in self._parts.logs.packing.shapes]
        _, own, lists = tf.while_loop(
            lambda number, *_: number < steps,
            body,
            (number, nothing, self._guard.lists(steps)),
            parallel_iterations=1,
        )
        statistics = ReplicaStatistics.of_step(self._model, self._job.strategy)
        found, skipped = self._guard.found(lists)
        own_figures = tf.concat([[self.input_wait.total()], figures, found], axis=0)
        return *self.exchange(started, own_figures, statistics, own), skipped

    def _picked_step(self, batch: Structure) -> list[tf.Tensor]:
        self._parts.global_random.use_here()
        logs, verdict = self._guard.judged(self._parts.train_step, batch)
        return [*self._parts.logs.picked(logs), verdict]
