"""A run from a job that is ready to its first step: what is going to happen, said and claimed."""

from collections.abc import Mapping
from dataclasses import dataclass

from tfscale.checkpoints.resume import Earlier
from tfscale.checkpoints.run_directory_claim import claim_run_directory
from tfscale.checkpoints.savability import SavingWay, find_saving_way, require_savable
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.prepare_job import Prepared
from tfscale.fit.single_replica_time import seconds_alone
from tfscale.fit.user_callbacks.ready_callbacks import ReadyCallbacks, ready_callbacks
from tfscale.report import tables
from tfscale.report.plan import plan_of, settings_of
from tfscale.report.split_metrics import WholeScores
from tfscale.startup.job import Job


@dataclass(frozen=True)
class Plan:
    """What is going to happen, before anything is written.

    Args:
        job: whose workers train.
        prepared: what trains.
        callbacks: of the user's file.
        scores: of whole splits.
        way: how much of the model can be saved.
        rows: of the table that people see.
    """

    job: Job
    prepared: Prepared
    callbacks: ReadyCallbacks
    scores: WholeScores
    way: SavingWay
    rows: Mapping[str, object]


def plan(job: Job, prepared: Prepared, earlier: Earlier, *, is_rehearsal: bool = False) -> Plan:
    """Looks at all that may go wrong before the first step, and shows what is going to happen.

    Raises:
        ConfigError: a callback would fail, or a package is missing.
    """
    scores, way = WholeScores(job, prepared), find_saving_way(prepared.model)
    callbacks = ready_callbacks(job, prepared, scores.names, is_rehearsal=is_rehearsal)
    require_savable(callbacks.given, way, prepared.model_file.name)
    rows = earlier.rows(job, prepared) | plan_of(job, prepared, callbacks.arranged)
    rows |= callbacks.last.rows | way.rows() | scores.rows
    job.terminal.show(tables.table("tfscale", rows))
    return Plan(job, prepared, callbacks, scores, way, rows)


@dataclass(frozen=True)
class Run:
    """A run whose folder is its own.

    Args:
        plan: what is going to happen.
        earlier: what it resumes from.
        directory: that it writes to.
        alone_seconds: of a step of one replica that waits for nobody; None if nobody asks.
    """

    plan: Plan
    earlier: Earlier
    directory: RunDirectory
    alone_seconds: float | None

    @property
    def job(self) -> Job:
        """Whose workers train."""
        return self.plan.job

    @property
    def prepared(self) -> Prepared:
        """What trains."""
        return self.plan.prepared


def open_run(plan: Plan, earlier: Earlier, dataset: object, model: object) -> Run:
    """Claims the run directory, and measures what has to be measured before the first step.

    Args:
        plan: what is going to happen.
        earlier: what the run resumes from.
        dataset: as of `prepare`, for `config.json`.
        model: likewise.

    Raises:
        ConfigError: the folder can't be had.
    """
    job, prepared = plan.job, plan.prepared
    settings = settings_of(job, prepared, plan.rows, dataset=dataset, model=model)
    directory = claim_run_directory(job, prepared, earlier, settings)
    alone = None
    if job.config.measure_efficiency:
        parts, spec = prepared.distributed.parts, prepared.data.training.spec
        alone = seconds_alone(prepared.model, job.strategy, parts, spec)
    return Run(plan, earlier, directory, alone)
