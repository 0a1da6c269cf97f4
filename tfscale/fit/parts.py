"""What a training step and its loop are made of, for one compiled model on all replicas."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from tfscale.fit.checks.build import Steps, build_steps
from tfscale.fit.checks.findings import Findings, find
from tfscale.fit.guards.finite_weights import FiniteWeights
from tfscale.fit.keras.global_random import GlobalRandom
from tfscale.fit.keras.optimizer import ReducedUpdate
from tfscale.fit.metrics.metric_totals import MetricTotals
from tfscale.fit.metrics.step_logs import OwnLogs
from tfscale.fit.optimizer_reducers import make_reducers, make_updates
from tfscale.fit.state.replica_state import random_states, separate_random_states
from tfscale.fit.train_step import HowToStep, TrainStep, require_graph, uses_xla
from tfscale.gradients.reducer import GradientReducer, Traffic
from tfscale.gradients.timing import CommunicationTimes
from tfscale.gradients.wires import Wire
from tfscale.startup.job import Job
from tfscale.structures import Json, Spec, Structure


@dataclass(frozen=True)
class Parts:
    """What trains, in parts.

    Args:
        steps: what the model's own steps do, and its optimizers.
        findings: what trying the model has shown.
        totals: metrics over all replicas.
        logs: of training: which names they have.
        test_logs: likewise of an evaluation.
        communication: how long gradients travel.
        reducers: the way of the gradients of each optimizer.
        updates: of each optimizer.
        train_step: one replica's.
        global_random: what `keras.random` draws with.
        random: states of all generators of random numbers.
        finite: looks after the weights.
    """

    steps: Steps
    findings: Findings
    totals: MetricTotals
    logs: OwnLogs
    test_logs: OwnLogs
    communication: CommunicationTimes
    reducers: list[GradientReducer]
    updates: list[ReducedUpdate]
    train_step: TrainStep
    global_random: GlobalRandom
    random: list[keras.Variable]
    finite: FiniteWeights

    @property
    def traffic(self) -> Traffic:
        """What one replica sends in a step, once the step is traced."""
        return Traffic.sum_of([reducer.traffic for reducer in self.reducers])

    def facts(self) -> dict[str, Json]:
        """What a step does that isn't in the model's configuration, the same on every worker."""
        return {
            "what a step returns": [self.logs.names, self.logs.packing.sizes],
            "what metrics add up": self.totals.packing.sizes,
            "what losses are divided by": self.steps.asks,
            "losses are sums": self.findings.losses_are_sums,
        }


def make_parts(
    job: Job, model: keras.Model, spec: Spec, first: Structure, *, wire: Wire, bucket_bytes: int
) -> Parts:
    """Builds a model and its optimizers, and makes what trains it.

    Args:
        job: whose replicas train.
        model: compiled, made in the strategy's scope.
        spec: of one replica's batch, with static shapes.
        first: a few real examples, stacked; the same on every worker.
        wire: how gradients are sent.
        bucket_bytes: gradients that travel in one all-reduce.

    Raises:
        ConfigError: the model doesn't fit the data, or asks for what can't be distributed.
    """
    strategy = job.strategy
    replicas = strategy.num_replicas_in_sync
    require_graph(model)
    global_random = GlobalRandom(strategy)
    random = [*random_states(model), global_random.state]
    steps = build_steps(model, spec, strategy)
    finite = FiniteWeights(model, strategy)
    findings = find(model, first, steps, strategy)
    totals = MetricTotals(model, replicas, findings.metric_kinds)
    communication = CommunicationTimes(strategy)
    reducers = make_reducers(
        steps.optimizers, strategy, wire, bucket_bytes=bucket_bytes, observe=communication.observe
    )
    updates = make_updates(steps, reducers, replicas)
    train_step = _train_step(job, model, spec, updates, findings)
    separate_random_states(random, strategy, job.cluster.index)
    return Parts(
        steps,
        findings,
        totals,
        OwnLogs(totals, steps.own_training),
        OwnLogs(totals, steps.own_test),
        communication,
        reducers,
        updates,
        train_step,
        global_random,
        random,
        finite,
    )


def _train_step(
    job: Job,
    model: keras.Model,
    spec: Spec,
    updates: Sequence[ReducedUpdate],
    findings: Findings,
) -> TrainStep:
    replicas = job.strategy.num_replicas_in_sync
    how = HowToStep(
        replicas,
        job.config.accumulate_steps,
        jit=uses_xla(model, asked=job.config.jit, replicas=replicas),
        numbers_are_sums=findings.losses_are_sums,
    )
    return TrainStep(model, spec, updates, how)
