"""What is going to happen, in words and as a file, before it does."""

from dataclasses import asdict

import keras
import numpy as np
import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.config import Config
from tfscale.data.splits import RunInputs
from tfscale.gradients.bucket_size import Buckets
from tfscale.model.learning_rate import LearningRate
from tfscale.startup import strategy as strategies
from tfscale.startup.devices import Devices
from tfscale.user_files import name_of


def plan_of(
    config: Config,
    cluster: Cluster,
    devices: Devices,
    data: RunInputs,
    rate: LearningRate | None,
    model: keras.Model,
    buckets: Buckets,
) -> dict[str, object]:
    """The rows of the table that a run starts with."""
    sharding, training = data.sharding, data.training
    addresses = ", ".join(cluster.addresses) or "this machine"
    dropped = ""
    if training.num_examples and not config.steps_per_epoch:
        left_over = training.num_examples % sharding.global_batch
        dropped = f"; {left_over} examples are left over, others in each epoch" if left_over else ""
    batch = (
        f"{sharding.global_batch} global -> {sharding.worker_batch} per worker -> "
        f"{sharding.replica_batch} per replica"
    )
    if config.accumulate_steps > 1:
        batch += f", in {config.accumulate_steps} micro-batches"
    rows: dict[str, object] = {
        "workers": f"{cluster.num_workers} ({addresses})",
        "devices": f"{devices.count} x {devices.names[0]} each, {sharding.num_replicas} replicas",
        "collectives": strategies.collectives_for(config, devices, cluster.num_workers),
        "batch": batch,
        "steps": f"{training.steps} an epoch, {config.epochs} epochs{dropped}",
        "learning rate": str(rate or "the model's own"),
        "optimizer": type(model.optimizer).__name__,
        "precision": config.precision,
        "gradients": _gradients(config, sharding.num_replicas, buckets),
        "model": f"{model.name}, {model.count_params():,} parameters",
        "train data": training.description,
    }
    for split, evaluated in data.evaluated.items():
        size = "a stream" if evaluated.num_examples is None else f"{evaluated.num_examples} records"
        rows[f"{split} data"] = f"{size}, each exactly once"
    rows["versions"] = ", ".join(f"{name} {version}" for name, version in versions().items())
    rows["run directory"] = config.run_dir
    return rows


def _gradients(config: Config, replicas: int, buckets: Buckets) -> str:
    if replicas == 1:
        return "stay on the one device"
    sent = config.wire_dtype if config.compress == "none" else config.compress
    if not buckets.size_bytes:
        return f"travel as {sent}, in buckets {buckets.source}"
    return f"travel as {sent}, {buckets.size_bytes / 2**20:.4g} MiB at a time ({buckets.source})"


def settings_of(
    config: Config,
    cluster: Cluster,
    dataset: object,
    model: object,
    plan: dict[str, object],
    buckets: Buckets,
) -> dict[str, object]:
    """The content of `config.json`."""
    return {
        **config.as_dict(),
        "dataset": name_of(dataset),
        "model": name_of(model),
        "workers": list(cluster.addresses),
        "buckets": asdict(buckets),
        "plan": plan,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of what a result may depend on."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
