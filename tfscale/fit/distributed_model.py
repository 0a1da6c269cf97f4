"""Keras 3's `fit`, `evaluate` and `predict` on any number of workers and replicas.

A model keeps its class and its methods; what is replaced are the functions that run steps (here)
and what they touch inside Keras (`keras/`).

Training enters Python about once a second: a loop on the device takes many steps, in which nothing
but gradients crosses workers. At its end, the `boundary`, one all-reduce carries metric totals,
batch statistics and each worker's figures. `evaluation` has the other two.
"""

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.data.splits import Splits
from tfscale.fit.alone import measured_seconds
from tfscale.fit.arrivals import Arrivals
from tfscale.fit.boundary import Boundary, Exchange
from tfscale.fit.build import Steps, build_steps
from tfscale.fit.carrier import Carrier
from tfscale.fit.evaluation import STEPS_PER_CALL, evaluations
from tfscale.fit.findings import find
from tfscale.fit.finite_weights import FiniteWeights
from tfscale.fit.keras.batch_normalization import fuse_batch_normalization
from tfscale.fit.keras.given import GivenData, install_batch_methods
from tfscale.fit.keras.global_random import GlobalRandom
from tfscale.fit.keras.install import install
from tfscale.fit.keras.loops import Call, StepFunctions
from tfscale.fit.loop_length import fixed_steps_per_call, next_steps_per_call
from tfscale.fit.metric_totals import MetricTotals
from tfscale.fit.on_chief import Chief
from tfscale.fit.own_logs import OwnLogs, local_means
from tfscale.fit.own_scaling import watch
from tfscale.fit.points import Points
from tfscale.fit.prediction import Prediction
from tfscale.fit.reducers import make_reducers, make_updates
from tfscale.fit.replica_state import (
    ReplicaStatistics,
    random_state_of,
    random_states,
    separate_random_states,
)
from tfscale.fit.rhythm import described, wishes_of
from tfscale.fit.step_guard import COLUMNS, StepGuard, Verdict
from tfscale.fit.train_step import HowToStep, TrainStep, require_graph, uses_xla
from tfscale.fit.training_state import TrainingState, shares
from tfscale.fit.unrepeatable import random_operations
from tfscale.gradients.reducer import Traffic
from tfscale.gradients.timing import CommunicationTimes
from tfscale.gradients.wires import Wire
from tfscale.process.host_figures import HostFigures
from tfscale.startup.job import Job
from tfscale.structures import Foreign, Json, Structure

_MOST_STEPS_PER_CALL = 10_000


class DistributedModel:
    """A compiled Keras model whose `fit`, `evaluate` and `predict` run on all replicas.

    Args:
        job: whose replicas train.
        model: compiled, made in the strategy's scope.
        data: what it is trained on.
        wire: how gradients are sent.
        bucket_bytes: gradients that travel in one all-reduce.

    Attributes:
        model: the model.
        step: steps since the start of training.
        points: between two on-device loops, for who wants to know of them.
        arrivals: of batches, for who looks while a loop runs.
        last_logs: of the last on-device loop of training.
        state: what training steps change.
        unrepeatable: operations of the traced step whose random numbers nobody can draw again.
        carrier: of bytes, between workers.
        boundary: what the last on-device loop of training measured, once there was one.
        communication: how long gradients travel.
        boundary_seconds: spent between loops so far, on this worker, tracing left out.
        chief: runs the callbacks that no other worker runs.
        asks: how often a step asks all replicas what its losses divide by.
        updates: of the optimizers that a step updates with.
        finite: looks after the weights.
        logs: of training, and `test_logs` of an evaluation: which names they have.
        verdict: about the last on-device loop; `judges` are called with each, and may raise.

    Raises:
        ConfigError: the model doesn't fit the data, or asks for what can't be distributed.
    """

    def __init__(
        self, job: Job, model: keras.Model, data: Splits, *, wire: Wire, bucket_bytes: int
    ) -> None:
        """Builds the model and its optimizers, and replaces what is replaced."""
        self.model = model
        self.boundary: Boundary | None = None
        self.step, self.boundary_seconds = 0, 0.0
        self.arrivals, self.unrepeatable = Arrivals(), list[str]()
        self.points, self.last_logs = Points(), dict[str, Json]()
        self.verdict: Verdict | None = None
        self.judges = list[Callable[[], None]]()
        self._strategy = strategy = job.strategy
        self._spec = data.training.spec
        self._fixed_steps = fixed_steps_per_call(
            job.config.steps_per_execution, model.steps_per_execution
        )
        self._steps_per_call = self._fixed_steps or 1
        self._is_warm = False
        self._figures = HostFigures(job.devices.num_gpus)
        require_graph(model)
        watch()
        self._global_random = GlobalRandom(strategy)
        self._random = [*random_states(model), self._global_random.state]
        steps = build_steps(model, self._spec, strategy)
        fuse_batch_normalization(model)
        self.finite = FiniteWeights(model, strategy)
        replicas = strategy.num_replicas_in_sync
        self._findings = find(model, data.training.first, steps, strategy)
        self.asks = 0 if replicas == 1 else steps.asks
        self._totals = MetricTotals(model, replicas, self._findings.metric_kinds)
        self.logs = OwnLogs(self._totals, steps.own_training)
        self.test_logs = OwnLogs(self._totals, steps.own_test)
        self.communication = CommunicationTimes(strategy)
        self._worker, num_workers = job.cluster.index, job.cluster.num_workers
        self._exchange = Exchange(
            strategy, self._totals, self.communication, worker=self._worker, num_workers=num_workers
        )
        observe = self.communication.observe
        self._reducers = make_reducers(
            steps.optimizers, strategy, wire, bucket_bytes=bucket_bytes, observe=observe
        )
        self.updates = make_updates(steps, self._reducers, replicas)
        self._train_step = self._make_train_step(job)
        separate_random_states(self._random, strategy, job.cluster.index)
        self.carrier = Carrier(strategy, self._worker, num_workers)
        self.state = self._make_state(steps)
        self.guard(skips=job.config.on_nan == "skip")
        self.chief = Chief(job, model)
        install(model, self._step_functions(job), strategy)
        install_batch_methods(model)

    def _make_state(self, steps: Steps) -> TrainingState:
        residuals = [reducer.residuals for reducer in self._reducers]
        return TrainingState(
            self._strategy,
            self.carrier,
            self.model,
            optimizers=steps.optimizers,
            own={
                "metrics": (self._totals.variables, self._totals.dealt_out),
                "random": (self._random, lambda _: random_state_of),
                **{f"residuals-{n}": (kept, lambda _: shares) for n, kept in enumerate(residuals)},
            },
        )

    def _make_train_step(self, job: Job) -> TrainStep:
        replicas = self._strategy.num_replicas_in_sync
        how = HowToStep(
            replicas,
            job.config.accumulate_steps,
            jit=uses_xla(self.model, asked=job.config.jit, replicas=replicas),
            numbers_are_sums=self._findings.losses_are_sums,
        )
        return TrainStep(self.model, self._spec, self.updates, how)

    def _step_functions(self, job: Job) -> StepFunctions:
        test = evaluations(
            self.model,
            self._strategy,
            self._totals,
            self.test_logs,
            num_workers=job.cluster.num_workers,
            numbers_are_sums=self._findings.losses_are_sums,
        )
        return StepFunctions(
            train=self.chief.heard_by_all(self.train_call),
            test=test,
            predict=Prediction(self.model, self._strategy).call,
            steps_of_next_call=self._steps_of_next_call,
            last_logs=lambda: self.last_logs,
            points=self.points,
            fixed_steps=self._fixed_steps,
            as_input=GivenData(job, self.chief),
        )

    def guard(self, *, skips: bool) -> None:
        """Makes loops skip steps whose loss or gradients aren't finite, or only tell of them."""
        weights = self.model.trainable_variables
        self._guard = StepGuard(self._strategy, self.state, weights, skips=skips)
        self._train_loop = tf.function(self._train_steps, autograph=False)

    def alone_seconds(self) -> float:
        """Seconds of a step of one replica that has nobody to wait for; changes no state."""
        for reducer in self._reducers:
            reducer.is_bypassed = True
        try:
            return measured_seconds(self.model, self._strategy, self._train_step, self._spec)
        finally:
            for reducer in self._reducers:
                reducer.is_bypassed = False

    def described(self, callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, object]:
        """What the plan has to say about what costs time, or depends on the number of replicas."""
        wishes = described(wishes_of(callbacks), self._fixed_steps)
        return self._findings.rows | ({"callbacks": wishes} if wishes else {})

    def facts(self) -> dict[str, Json]:
        """What a step does that isn't in the model's configuration, the same on every worker."""
        return {
            "what a step changes": self.state.names,
            "what a step returns": [self.logs.names, self.logs.packing.sizes],
            "what metrics add up": self._totals.packing.sizes,
            "what losses are divided by": self.asks,
            "losses are sums": self._findings.losses_are_sums,
        }

    @property
    def figure_names(self) -> list[str]:
        """What the numbers in `boundary.figures` are."""
        return list(self._figures.names)

    @property
    def traffic(self) -> Traffic:
        """What one replica sends in a step, once the step is traced."""
        return Traffic.sum_of([reducer.traffic for reducer in self._reducers])

    @property
    def boundary_bytes(self) -> float:
        """What one replica sends at a boundary, once the loop is traced."""
        return self._exchange.sent_bytes

    def _steps_of_next_call(self, name: str) -> int:
        """How many steps the next call takes, the same on every worker."""
        fit = self.points.most_steps(self.step, self._steps_per_call)
        return {"fit": fit, "evaluate": STEPS_PER_CALL}.get(name, 1)

    def train_call(self, call: Call) -> dict[str, Json]:
        """Takes the steps of a call; gives the logs of all replicas."""
        called = time.perf_counter()
        figures = tf.constant(self._figures.measure(), tf.float64)
        iterator, steps = call.input.iterator, call.steps
        packed, rows, own, skipped = self._train_loop(iterator, tf.constant(steps), figures)
        rows, found = np.split(rows.numpy(), [-COLUMNS], axis=1)
        self.verdict = Verdict(self.step, steps, found, tuple(skipped.numpy().tolist()))
        self.step += steps
        self.boundary = Boundary.of_rows(rows, step=self.step, steps=steps, is_warm=self._is_warm)
        if self._is_warm:
            spent = time.perf_counter() - called
            self.boundary_seconds += spent - float(self.boundary.seconds[self._worker])
            if not self._fixed_steps:
                self._steps_per_call = next_steps_per_call(
                    self._steps_per_call, self.boundary.step_seconds, limit=_MOST_STEPS_PER_CALL
                )
        self._is_warm = True
        totals, is_new = self._totals.packing.unpack(packed), len(self.verdict.skipped) < steps
        self.last_logs = self.logs.shown(totals, own, is_new=is_new)
        for judge in self.judges:
            judge()
        return dict(self.last_logs)

    def _train_steps(
        self, iterator: Foreign, steps: tf.Tensor, figures: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """Takes `steps` steps, then exchanges what a boundary exchanges.

        Returns:
            What `Exchange` gives; a worker's figures end with what the guard has found, and the
            averages are of what a train_step of the user's own returned in the last step, where it
            isn't the model's metrics. Then the places of skipped steps.
        """
        started = tf.timestamp()

        def body(
            number: tf.Tensor, waited: tf.Tensor, own: Structure, lists: Structure
        ) -> Structure:
            batch, seconds = self.arrivals.next_of(iterator)
            kept = self._guard.before()
            *picked, verdict = self._strategy.run(self._picked_step, args=(batch,))
            means = local_means(self._strategy, picked)
            self.unrepeatable = random_operations()
            own, lists = self._guard.after(number, verdict, lists, kept, (own, means))
            return number + 1, waited + seconds, own, lists

        with tf.control_dependencies([started]):
            number, waited = tf.constant(0), tf.zeros([], tf.float64)
            self._strategy.run(self.communication.reset)
        nothing = [tf.zeros(shape, tf.float64) for shape in self.logs.packing.shapes]
        _, waited, own, lists = tf.while_loop(
            lambda number, *_: number < steps,
            body,
            (number, waited, nothing, self._guard.lists(steps)),
            parallel_iterations=1,
        )
        statistics = ReplicaStatistics.of_step(self.model, self._strategy)
        found, skipped = self._guard.found(lists)
        own_figures = tf.concat([[waited], figures, found], axis=0)
        return *self._exchange(started, own_figures, statistics, own), skipped

    def _picked_step(self, batch: Structure) -> list[tf.Tensor]:
        self._global_random.use_here()
        logs, verdict = self._guard.judged(self._train_step, batch)
        return [*self.logs.picked(logs), verdict]
