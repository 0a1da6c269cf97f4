"""The content of `report.json`, after a run."""

from collections.abc import Mapping
from typing import Any

from tfscale.gradients.reducer import Traffic
from tfscale.report.step_times import StepTimes

SCHEMA_VERSION = 1


def summary(
    *,
    times: StepTimes,
    workers: int,
    replicas: int,
    devices: list[str],
    global_batch: int,
    steps: int,
    epochs: int,
    seconds: Mapping[str, float],
    metrics: Mapping[str, float],
    weights_sha256: str,
    versions: Mapping[str, str],
    traffic: Traffic,
    alone_seconds: float | None,
) -> dict[str, Any]:
    """The content of `report.json`.

    Exposed communication is the time between the last gradient and the last sum; bus bandwidth is
    what a replica sends in a step, through the time from the first bucket to the last sum.
    """
    waited = times.input_wait_share if times.num_steps else None
    exposed = times.exposed_share if times.num_steps else None
    compute = None if waited is None or exposed is None else max(0.0, 1.0 - waited - exposed)
    travelled = times.travel_seconds if times.num_steps else 0.0
    return {
        "schema_version": SCHEMA_VERSION,
        "workers": workers,
        "replicas": replicas,
        "devices": devices,
        "global_batch": global_batch,
        "steps": steps,
        "epochs": epochs,
        "examples_per_second": times.examples_per_second(global_batch),
        "step_seconds": {
            "median": times.step_seconds_median,
            "p95": times.step_seconds_p95,
        },
        "share_of_step": {
            "input_wait": waited,
            "compute": compute,
            "exposed_communication": exposed,
        },
        "communication": {
            "buckets": traffic.buckets,
            "gradient_bytes": traffic.gradient_bytes,
            "sent_bytes_per_step": traffic.sent_bytes,
            "bus_bandwidth": traffic.sent_bytes / travelled if travelled else None,
            "sparse_gradients": traffic.sparse,
            "densified_gradients": traffic.densified,
        },
        "scaling_efficiency": _efficiency(times, alone_seconds),
        "seconds": dict(seconds),
        "metrics": dict(metrics),
        "weights_sha256": weights_sha256,
        "versions": dict(versions),
    }


def _efficiency(times: StepTimes, alone_seconds: float | None) -> float | None:
    if alone_seconds is None or not times.num_steps:
        return None
    return alone_seconds / times.step_seconds_median
