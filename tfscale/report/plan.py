"""What is going to happen, in words and as a file, before it does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import keras

from tfscale.cluster.cluster import Cluster
from tfscale.fit.callbacks.callback_intervals import described, wishes_of
from tfscale.fit.compiled_model import precisions
from tfscale.fit.keras.layers import layers_within
from tfscale.fit.prepare_job import Prepared
from tfscale.startup.agreement import versions
from tfscale.startup.job import Job
from tfscale.user_paths import name_of

# What asking for a loss's valid or weighted examples costs; measured with two workers that share a
# machine, more with the latency of the links.
_COUNT_MS = "0.5 to 0.9"


def plan_of(
    job: Job, prepared: Prepared, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> dict[str, object]:
    """The rows of the table that a run starts with.

    Args:
        job: whose workers train.
        prepared: what trains.
        callbacks: the user's on this worker, which may make loops short.
    """
    config, cluster, devices = job.config, job.cluster, job.devices
    sharding, training, model = prepared.data.sharding, prepared.data.training, prepared.model
    addresses = ", ".join(cluster.addresses) or "this machine"
    rows: dict[str, object] = {
        "workers": f"{cluster.num_workers} ({addresses}){_said_by(cluster)}",
        "devices": f"{devices.count} x {devices.names[0]} each, {sharding.num_replicas} replicas",
        "collectives": job.collectives,
        "batch": _batch(job, prepared),
        "steps": f"{training.steps} an epoch, {config.epochs} epochs{_left_over(job, prepared)}",
        "learning rate": str(prepared.rate or "the model's own"),
        "loss": _loss(prepared),
        "optimizer": type(model.optimizer).__name__,
        "precision": _precision(job, prepared),
        "gradients": _gradients(job, prepared),
        "model": f"{model.name}, {model.count_params():,} parameters{_frozen(model)}",
        "train data": training.description,
    }
    for split, evaluated in prepared.data.evaluated.items():
        size = "a stream" if evaluated.num_examples is None else f"{evaluated.num_examples} records"
        rows[f"{split} data"] = f"{size}, each exactly once"
    rows["versions"] = ", ".join(f"{name} {version}" for name, version in versions().items())
    rows["run directory"] = config.run_dir
    distributed = prepared.distributed
    rows |= _batch_normalization(job, prepared)
    wishes = described(wishes_of(callbacks), distributed.length.fixed)
    return rows | distributed.parts.findings.rows | ({"callbacks": wishes} if wishes else {})


def _said_by(cluster: Cluster) -> str:
    return f", as {cluster.source} says" if cluster.source else ""


def _frozen(model: keras.Model) -> str:
    """How many are trained, where some aren't that could be: batch statistics never are."""
    if all(layer.trainable for layer in layers_within(model)):
        return ""
    trained = sum(math.prod(weight.shape) for weight in model.trainable_variables)
    return f", of which {trained:,} are trained"


def _batch_normalization(job: Job, prepared: Prepared) -> dict[str, object]:
    """Layers that each replica feeds with its own part of a batch alone."""
    batch = prepared.data.sharding.replica_batch // job.config.accumulate_steps
    apart = [
        layer
        for layer in layers_within(prepared.model)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and not layer.synchronized
    ]
    if not apart or prepared.data.sharding.num_replicas == 1:
        return {}
    return {
        "batch normalization": (
            f"{len(apart)} layers normalize by the {batch} examples of each replica alone; with "
            "synchronized=True by those of all"
        )
    }


def _loss(prepared: Prepared) -> str:
    asks = prepared.distributed.parts.steps.asks
    if not asks:
        return prepared.loss
    counts = "a count" if asks == 1 else f"{asks} counts"
    return f"{prepared.loss}; asks all replicas for {counts} in each step, {_COUNT_MS} ms each"


def _precision(job: Job, prepared: Prepared) -> str:
    """Of the layers that have weights: a loaded model keeps what it was saved with."""
    asked, found = job.config.precision, precisions(prepared.model)
    if not found or asked in found:
        return asked
    return f"{', '.join(found)} (the model's own)"


def _batch(job: Job, prepared: Prepared) -> str:
    sharding, parts = prepared.data.sharding, job.config.accumulate_steps
    text = (
        f"{sharding.global_batch} global -> {sharding.worker_batch} per worker -> "
        f"{sharding.replica_batch} per replica"
    )
    return f"{text}, in {parts} micro-batches" if parts > 1 else text


def _left_over(job: Job, prepared: Prepared) -> str:
    size, steps = prepared.data.training.num_examples, prepared.data.training.steps
    if not size or not steps or job.config.steps_per_epoch:
        return ""
    left_over = size - steps * prepared.data.sharding.global_batch
    return f"; {left_over} examples are left over, others in each epoch" if left_over else ""


def _gradients(job: Job, prepared: Prepared) -> str:
    config, buckets = job.config, prepared.buckets
    if prepared.data.sharding.num_replicas == 1:
        return "stay on the one device"
    sent = config.wire_dtype if config.compress == "none" else config.compress
    if not buckets.size_bytes:
        return f"travel as {sent}, in buckets {buckets.source}"
    return f"travel as {sent}, {buckets.size_bytes / 2**20:.4g} MiB at a time ({buckets.source})"


def settings_of(
    job: Job, prepared: Prepared, plan: Mapping[str, object], *, dataset: object, model: object
) -> dict[str, object]:
    """The content of `config.json`."""
    return {
        **job.config.as_dict(),
        "dataset": name_of(dataset),
        "model": name_of(model),
        "sources": dict(prepared.sources),
        "workers": list(job.cluster.addresses),
        "buckets": asdict(prepared.buckets),
        "learned": dict(prepared.data.file.learned),
        "plan": dict(plan),
        "versions": versions(),
    }
