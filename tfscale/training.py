"""A training run from start to end. Read `run` as a table of contents."""

import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfscale.checkpoints import export
from tfscale.cluster.cluster import Cluster
from tfscale.config import Config
from tfscale.data.feed import Input
from tfscale.data.sharding import Sharding
from tfscale.data.splits import RunInputs, input_of, read_inputs
from tfscale.errors import ConfigError
from tfscale.files.run_directory import RunDirectory
from tfscale.fit import alone as efficiency
from tfscale.fit.distributed_model import DistributedModel, StepOptions
from tfscale.gradients import bucket_size
from tfscale.gradients.bucket_size import Buckets
from tfscale.model.learning_rate import learning_rate
from tfscale.model.model_file import build_model, read_model_file
from tfscale.model.scratch import write_to_scratch
from tfscale.model.task import compile_model
from tfscale.model.user_callbacks import own_callbacks
from tfscale.process.host_figures import HostFigures
from tfscale.process.terminal import Terminal
from tfscale.report import report as reports
from tfscale.report import tables
from tfscale.report.first_step import FirstStep
from tfscale.report.outline import plan_of, settings_of, versions
from tfscale.report.pace import Pace
from tfscale.report.scalars import Scalars
from tfscale.startup import devices as device_setup
from tfscale.startup import strategy as strategies
from tfscale.startup.board import Board
from tfscale.startup.devices import Devices
from tfscale.user_files import name_of


def run(
    config: Config,
    cluster: Cluster,
    dataset: object,
    model: object,
    *,
    terminal: Terminal,
    dry_run: bool,
    started: Callable[[], None],
) -> dict[str, Any]:
    """Does what `tfscale.train` promises; calls `started` when the first step has been taken."""
    began = time.perf_counter()
    if not (cluster.is_chief or dry_run):
        terminal = terminal.silenced()
    devices = device_setup.prepare(config, cluster)
    reached = Cluster() if dry_run else cluster
    strategy = _strategy(config, cluster, devices, terminal, dry_run=dry_run)
    board = Board(reached, terminal.complain)
    with board.share_failures():
        _require_same(board, config, devices, dataset, model)
        model_file = read_model_file(model, config.model_option)
        sharding = Sharding(config.batch_size, cluster.num_workers, cluster.index, devices.count)
        data = read_inputs(config, dataset, sharding, strategy)
        _require_same_data(board, data)
        figures = HostFigures(devices.count if devices.kind == "GPU" else 0)
        network = build_model(model_file, data.file, data.training.spec, strategy)
        rate = None
        if not network.compiled:
            rate = learning_rate(config, steps_per_epoch=data.training.steps or 0)
            compile_model(network, data.file, config, rate, data.training.spec, strategy)
        buckets = _buckets(config, cluster, devices, board, network, strategy)
        distributed = _distribute(config, cluster, data, network, strategy, figures, buckets)
        callbacks = [FirstStep(started), *own_callbacks(model_file)]
        plan = plan_of(config, cluster, devices, data, rate, network, buckets)
        terminal.show(tables.table("tfscale", plan))
        if dry_run:
            return {}
        directory = _claim(config, reached, board, terminal, distributed)
        settings = settings_of(config, cluster, dataset, model, plan, buckets)
        directory.write_json("config.json", settings)
        alone = _alone_seconds(config, data, distributed)
        pace = _fit(config, data, distributed, callbacks, directory, terminal, figures, plan, alone)
        metrics = _evaluate(data, distributed, pace)
        report = _finish(
            config, cluster, devices, data, distributed, directory, pace, metrics, alone, began
        )
        board.leave()
        terminal.show(tables.table("done", tables.closing_rows(report, directory.path)))
        terminal.show(tables.next_commands(directory.path))
    return report


def _strategy(
    config: Config, cluster: Cluster, devices: Devices, terminal: Terminal, *, dry_run: bool
) -> tf.distribute.Strategy:
    strategies.collectives_for(config, devices, cluster.num_workers)
    if dry_run:
        return tf.distribute.get_strategy()
    return strategies.create(config, cluster, devices, terminal.complain)


def _require_same(
    board: Board, config: Config, devices: Devices, dataset: object, model: object
) -> None:
    """Refuses workers that differ where they must not, and names them.

    Raises:
        ConfigError: they have other devices, versions or settings.
    """
    facts = {
        "device kind": devices.kind,
        "number of devices": devices.count,
        "versions": versions(),
        "dataset": name_of(dataset),
        "model": name_of(model),
        **_flags(config),
    }
    _require_equal(board, "facts", facts)


def _require_same_data(board: Board, data: RunInputs) -> None:
    """Refuses workers whose data differ: examples would be seen twice and never.

    Raises:
        ConfigError: they have other splits, records, examples or classes.
    """
    inputs = {"train": data.training, **data.evaluated}
    facts: dict[str, object] = {
        "splits": list(inputs),
        "num_classes": data.file.num_classes,
        "task": data.file.task,
    }
    for split, found in inputs.items():
        facts[f"number of records of load({split!r})"] = found.num_examples
        facts[f"checksum of the records of load({split!r}), or their order"] = found.checksum
        facts[f"examples of {split!r}"] = str(found.spec)
    _require_equal(board, "data", facts)


def _require_equal(board: Board, topic: str, facts: dict[str, object]) -> None:
    everybody = [json.loads(text) for text in board.exchange(topic, json.dumps(facts))]
    for name in facts:
        values = [theirs.get(name) for theirs in everybody]
        if any(value != values[0] for value in values):
            shown = ", ".join(f"worker {rank}: {value}" for rank, value in enumerate(values))
            raise ConfigError(
                f"The workers differ in {name} ({shown}); expected the same on all. Start every "
                "worker with the same command, packages and kind of machine, only --index differs."
            )


def _buckets(
    config: Config,
    cluster: Cluster,
    devices: Devices,
    board: Board,
    model: keras.Model,
    strategy: tf.distribute.Strategy,
) -> Buckets:
    """How large the buckets of gradients are, measured where nothing else is said."""
    weights = model.trainable_variables
    sizes = [math.prod(weight.shape) * weight.value.dtype.size for weight in weights]
    conditions = {
        "workers": cluster.num_workers,
        "devices": [devices.kind, devices.count],
        "collectives": config.collectives,
        "wire_dtype": config.wire_dtype,
        "compress": config.compress,
        "bucket_mb": config.bucket_mb,
    }
    return bucket_size.choose(
        config,
        board,
        strategy,
        gradient_bytes=sum(sizes),
        conditions=conditions,
    )


def _distribute(
    config: Config,
    cluster: Cluster,
    data: RunInputs,
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    figures: HostFigures,
    buckets: Buckets,
) -> DistributedModel:
    """Makes the model's `fit`, `evaluate` and `predict` run on all replicas."""

    def as_input(x: Any, y: Any, weight: Any, steps: int | None) -> Input:  # noqa: ANN401
        return input_of(x, y, weight, steps, data.sharding, strategy)

    return DistributedModel(
        model,
        strategy,
        spec=data.training.spec,
        options=StepOptions(
            bucket_bytes=buckets.size_bytes,
            wire_dtype=config.wire_dtype,
            compress=config.compress,
            accumulate_steps=config.accumulate_steps,
            steps_per_execution=config.steps_per_execution,
            jit=config.jit,
            measure=figures.measure,
        ),
        worker=cluster.index,
        num_workers=cluster.num_workers,
        as_input=as_input,
    )


def _claim(
    config: Config,
    cluster: Cluster,
    board: Board,
    terminal: Terminal,
    distributed: DistributedModel,
) -> RunDirectory:
    """Makes the run directory this run's, or refuses on every worker with the chief's reason."""
    directory = RunDirectory(config.run_dir, cluster)
    reason = ""
    if cluster.is_chief:
        needed = export.model_bytes(distributed.model)
        reason = directory.claim(overwrite=config.overwrite, needed_bytes=needed)
    reason = board.say("claim", reason or "granted")
    if reason != "granted":
        raise ConfigError(reason)
    terminal.file_log(directory.log)
    return directory


def _alone_seconds(config: Config, data: RunInputs, distributed: DistributedModel) -> float | None:
    """What scaling efficiency is measured against, if that is asked for."""
    if config.measure_efficiency:
        return distributed.alone_seconds(data.training.spec)
    return efficiency.baseline_seconds(config, replica_batch=data.sharding.replica_batch)


def _fit(
    config: Config,
    data: RunInputs,
    distributed: DistributedModel,
    own: list[keras.callbacks.Callback],
    directory: RunDirectory,
    terminal: Terminal,
    figures: HostFigures,
    plan: dict[str, object],
    alone_seconds: float | None,
) -> Pace:
    """Trains, with Keras's own `fit`."""
    pace = Pace(distributed)
    scalars = Scalars(
        distributed,
        directory.path / "tensorboard" if directory.is_chief else None,
        global_batch=config.batch_size,
        figure_names=figures.names,
        text=tables.markdown({**plan, **_flags(config)}),
        alone_seconds=alone_seconds,
    )
    with tempfile.TemporaryDirectory(prefix="tfscale-") as scratch:
        write_to_scratch(own, None if directory.is_chief else Path(scratch))
        distributed.model.fit(
            data.training,
            epochs=config.epochs,
            validation_data=data.evaluated.get("validation"),
            callbacks=[pace, scalars, *own],
            verbose=terminal.verbosity,
        )
    return pace


def _evaluate(data: RunInputs, distributed: DistributedModel, pace: Pace) -> dict[str, Any]:
    """The final metrics: of the last epoch, and of every split that is kept for the end."""
    history = distributed.model.history.history
    metrics = {name: values[-1] for name, values in history.items()}
    for split, evaluated in data.evaluated.items():
        if split != "validation":
            results = distributed.model.evaluate(
                evaluated, verbose=0, return_dict=True, callbacks=[pace]
            )
            metrics |= {f"{split}_{name}": value for name, value in results.items()}
    return metrics


def _finish(
    config: Config,
    cluster: Cluster,
    devices: Devices,
    data: RunInputs,
    distributed: DistributedModel,
    directory: RunDirectory,
    pace: Pace,
    metrics: dict[str, Any],
    alone_seconds: float | None,
    began: float,
) -> dict[str, Any]:
    """Saves the model and writes the report."""
    saving = time.perf_counter()
    export.save_model(distributed.model, directory)
    now = time.perf_counter()
    seconds = {
        "startup": pace.started - began,
        "to_first_step": pace.started - began + (pace.seconds_to_first_step or 0.0),
        "train": saving - pace.started - pace.evaluate_seconds,
        "evaluate": pace.evaluate_seconds,
        "checkpoint": now - saving,
        "total": now - began,
    }
    report = reports.summary(
        times=pace.times,
        workers=cluster.num_workers,
        replicas=data.sharding.num_replicas,
        devices=list(devices.names) * cluster.num_workers,
        global_batch=config.batch_size,
        steps=distributed.step,
        epochs=len(distributed.model.history.epoch),
        seconds=seconds,
        metrics={name: _plain(value) for name, value in metrics.items()},
        weights_sha256=export.weights_sha256(distributed.model),
        versions=versions(),
        traffic=distributed.traffic,
        alone_seconds=alone_seconds,
    )
    directory.write_json("report.json", report)
    return report


def _plain(value: Any) -> Any:  # noqa: ANN401
    return value.tolist() if isinstance(value, np.ndarray) else value


def _flags(config: Config) -> dict[str, object]:
    """Every setting under the name of its flag."""
    return {f"--{name}": value for name, value in config.as_dict().items()}
