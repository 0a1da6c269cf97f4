"""The content of `report.json`, after a run."""

from collections.abc import Mapping
from dataclasses import dataclass

from tfscale.data.stage_times import Stages
from tfscale.fit.prepare_job import Prepared
from tfscale.report.step_times import StepTimes
from tfscale.startup.agreement import versions
from tfscale.startup.job import Job
from tfscale.structures import Json

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Finished:
    """What a run has come to, beside what its listeners report.

    Args:
        times: of its steps.
        epochs: that were taken.
        seconds: of each part of the run, by its name.
        metrics: final values, by their Keras names. With a prefix (`val_`, `test_`) they are those
            of the saved weights; without one they are means over the steps of the last epoch.
        weights_sha256: of the trained model.
        model_file: its name in the run directory; empty where none could be written.
        load_command: what gives the model back.
        alone_seconds: of a step of one replica alone, None if that wasn't measured.
        stages: of the chief's input, if its steps waited for it; None if they hardly did.
    """

    times: StepTimes
    epochs: int
    seconds: Mapping[str, float]
    metrics: Mapping[str, Json]
    weights_sha256: str
    model_file: str
    load_command: str
    alone_seconds: float | None = None
    stages: Stages | None = None


def report_of(job: Job, prepared: Prepared, finished: Finished) -> dict[str, Json]:
    """The content of `report.json` but for what listeners add; docs/report.md has all of it.

    `share_of_step` has each figure over all boundaries but the first, as `Block` defines it for
    one. Bus bandwidth is what a replica sends in a step, through the time from the first bucket to
    the last sum.
    """
    times, workers = finished.times, job.cluster.num_workers
    waited, exposed = times.input_wait_share, times.exposed_share
    return {
        "schema_version": SCHEMA_VERSION,
        "workers": workers,
        "replicas": workers * job.devices.count,
        "devices": list(job.devices.names) * workers,
        "global_batch": job.config.batch_size,
        "steps": prepared.distributed.step,
        "epochs": finished.epochs,
        "examples_per_second": times.examples_per_second(job.config.batch_size),
        "step_seconds": {
            "median": times.step_seconds_median,
            "p95": times.step_seconds_p95,
        },
        "share_of_step": {
            "input_wait": waited,
            "compute": max(0.0, 1.0 - waited - exposed),
            "exposed_communication": exposed,
        },
        "accelerator_utilisation": 1.0 - waited,
        "input": _input(finished.stages),
        "communication": _communication(prepared, times),
        "scaling_efficiency": _efficiency(finished),
        "seconds": dict(finished.seconds),
        "metrics": dict(finished.metrics),
        "weights_sha256": finished.weights_sha256,
        "model": {"file": finished.model_file, "load": finished.load_command},
        "versions": versions(),
    }


def _communication(prepared: Prepared, times: StepTimes) -> Json:
    traffic, travelled = prepared.distributed.parts.traffic, times.travel_seconds
    return {
        "buckets": traffic.buckets,
        "bucket_bytes": prepared.buckets.size_bytes,
        "gradient_bytes": traffic.gradient_bytes,
        "sent_bytes_per_step": traffic.sent_bytes,
        "bus_bandwidth": traffic.sent_bytes / travelled if travelled else None,
        "sent_bytes_per_boundary": prepared.distributed.loop.exchange.sent_bytes,
        "sparse_gradients": traffic.sparse,
        "densified_gradients": traffic.densified,
    }


def _input(stages: Stages | None) -> Json:
    """Why steps waited, or None."""
    if stages is None:
        return None
    return {"cause": stages.cause, "examples_per_second": dict(stages.rates), "hint": stages.hint}


def _efficiency(finished: Finished) -> float | None:
    """Of a step of the middle length."""
    alone = finished.alone_seconds
    return None if alone is None else alone / finished.times.step_seconds_median
