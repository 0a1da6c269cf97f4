"""A training run from start to end. Read `run` as a table of contents."""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfscale import devices as device_setup
from tfscale import export, reports
from tfscale import strategy as strategies
from tfscale.callbacks.pace import Pace
from tfscale.callbacks.scalars import Scalars
from tfscale.callbacks.scratch import write_to_scratch
from tfscale.cluster import Cluster
from tfscale.config import Config, ConfigError
from tfscale.coordination import Board
from tfscale.dataset_file import DatasetFile, read_dataset_file
from tfscale.devices import Devices
from tfscale.distributed import DistributedModel, StepOptions
from tfscale.host import HostFigures
from tfscale.model_file import ModelFile, build_model, read_model_file
from tfscale.objectives import compile_model
from tfscale.pipeline import Input, evaluation_input, training_input
from tfscale.records import enumerate_records, read_records
from tfscale.run_directory import RunDirectory
from tfscale.schedules import LearningRate, learning_rate
from tfscale.sharding import Sharding
from tfscale.terminal import Terminal
from tfscale.userfiles import name_of


@dataclass(frozen=True)
class _Data:
    """The inputs of a run: training, validation of each epoch, and what is evaluated at the end."""

    file: DatasetFile
    sharding: Sharding
    training: Input
    evaluated: dict[str, Input]


def run(
    config: Config,
    cluster: Cluster,
    dataset: object,
    model: object,
    *,
    terminal: Terminal,
    dry_run: bool,
) -> dict[str, Any]:
    """Does what `tfscale.train` promises."""
    started = time.perf_counter()
    if not cluster.is_chief:
        terminal = terminal.silenced()
    devices = device_setup.prepare(config, cluster)
    reached = Cluster() if dry_run else cluster
    strategy = _strategy(config, cluster, devices, terminal, dry_run=dry_run)
    board = Board(reached, terminal.complain)
    with board.share_failures():
        _require_same(board, config, devices, dataset, model)
        model_file = read_model_file(model, config.model_option)
        data = _read_data(config, cluster, devices, dataset, strategy)
        figures = HostFigures(devices.count if devices.kind == "GPU" else 0)
        network = build_model(model_file, data.file, data.training.spec, strategy)
        rate = None
        if not network.compiled:
            rate = learning_rate(config, steps_per_epoch=data.training.steps or 0)
            compile_model(network, data.file, config, rate, data.training.spec, strategy)
        distributed = _distribute(config, cluster, data, network, strategy, figures)
        plan = _plan(config, cluster, devices, data, rate, distributed)
        terminal.show(reports.table("tfscale", plan))
        if dry_run:
            return {}
        directory = _claim(config, reached, board, terminal, distributed)
        directory.write_json("config.json", _settings(config, cluster, dataset, model, plan))
        pace = _fit(config, data, distributed, model_file, directory, terminal, figures, plan)
        metrics = _evaluate(data, distributed, pace)
        report = _finish(
            config, cluster, devices, data, distributed, directory, pace, metrics, started
        )
        board.leave()
        terminal.show(reports.table("done", reports.closing_rows(report, directory.path)))
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
        "versions": _versions(),
        "dataset": name_of(dataset),
        "model": name_of(model),
        **{f"--{name}": value for name, value in config.as_dict().items()},
    }
    everybody = [json.loads(text) for text in board.exchange("facts", json.dumps(facts))]
    for name in facts:
        values = [theirs.get(name) for theirs in everybody]
        if any(value != values[0] for value in values):
            shown = ", ".join(f"worker {rank}: {value}" for rank, value in enumerate(values))
            raise ConfigError(
                f"The workers differ in {name} ({shown}); expected the same on all. Start every "
                "worker with the same command, packages and kind of machine, only --index differs."
            )


def _read_data(
    config: Config,
    cluster: Cluster,
    devices: Devices,
    dataset: object,
    strategy: tf.distribute.Strategy,
) -> _Data:
    """Loads every split and lays out who reads what."""
    sharding = Sharding(config.batch_size, cluster.num_workers, cluster.index, devices.count)
    if sharding.replica_batch % config.accumulate_steps:
        raise ConfigError(
            f"--accumulate_steps={config.accumulate_steps} doesn't divide the "
            f"{sharding.replica_batch} examples of each replica; expected a divisor of it. Use for "
            f"example --batch_size={sharding.num_replicas * config.accumulate_steps}."
        )
    file = read_dataset_file(dataset, config.dataset_option)
    records = read_records(file, "train")
    if records is None:
        raise ConfigError(f"{file.name}: load('train') returned None; expected its records.")
    training = training_input(
        file,
        records,
        sharding,
        strategy,
        seed=config.seed,
        steps_per_epoch=config.steps_per_epoch,
    )
    evaluated = {}
    for split in file.splits[1:]:
        found = read_records(file, split)
        if found is not None:
            evaluated[split] = evaluation_input(file, found, sharding, strategy, seed=config.seed)
    return _Data(file, sharding, training, evaluated)


def _distribute(
    config: Config,
    cluster: Cluster,
    data: _Data,
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    figures: HostFigures,
) -> DistributedModel:
    """Makes the model's `fit`, `evaluate` and `predict` run on all replicas."""

    def as_input(x: Any, y: Any, weight: Any, steps: int | None) -> Input:  # noqa: ANN401
        return _input_of(x, y, weight, steps, data.sharding, strategy)

    return DistributedModel(
        model,
        strategy,
        spec=data.training.spec,
        options=StepOptions(
            bucket_bytes=config.bucket_bytes,
            wire_dtype=config.wire_dtype,
            accumulate_steps=config.accumulate_steps,
            steps_per_execution=config.steps_per_execution,
            measure=figures.measure,
        ),
        worker=cluster.index,
        num_workers=cluster.num_workers,
        as_input=as_input,
    )


def _input_of(
    x: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    weight: Any,  # noqa: ANN401
    steps: int | None,
    sharding: Sharding,
    strategy: tf.distribute.Strategy,
) -> Input:
    """What somebody hands to `evaluate` or `predict`, as an input in which each example is once."""
    if isinstance(x, tf.data.Dataset):
        batches = x if steps is None else x.take(steps)
        elements = list(batches.unbatch())
        examples = tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *elements)
    else:
        examples = tuple(part for part in (x, y, weight) if part is not None)
        examples = tf.nest.map_structure(tf.convert_to_tensor, examples)
        if steps is not None:
            size = steps * sharding.global_batch
            examples = tf.nest.map_structure(lambda leaf: leaf[:size], examples)
    if not isinstance(examples, tuple):
        examples = (examples,)
    records = tf.data.Dataset.from_tensor_slices(examples)
    given = DatasetFile(
        "the given data", lambda _: records, None, None, ("train",), None, "regression", None
    )
    return evaluation_input(
        given, enumerate_records(given.name, records, budget_bytes=float("inf")), sharding, strategy
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


def _fit(
    config: Config,
    data: _Data,
    distributed: DistributedModel,
    model_file: ModelFile,
    directory: RunDirectory,
    terminal: Terminal,
    figures: HostFigures,
    plan: dict[str, object],
) -> Pace:
    """Trains, with Keras's own `fit`."""
    pace = Pace(distributed)
    scalars = Scalars(
        distributed,
        directory.path / "tensorboard" if directory.is_chief else None,
        global_batch=config.batch_size,
        figure_names=figures.names,
        text=reports.markdown({**plan, **config.as_dict()}),
    )
    own = model_file.callbacks()
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


def _evaluate(data: _Data, distributed: DistributedModel, pace: Pace) -> dict[str, Any]:
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
    data: _Data,
    distributed: DistributedModel,
    directory: RunDirectory,
    pace: Pace,
    metrics: dict[str, Any],
    started: float,
) -> dict[str, Any]:
    """Saves the model and writes the report."""
    saving = time.perf_counter()
    export.save_model(distributed.model, directory)
    now = time.perf_counter()
    seconds = {
        "startup": pace.started - started,
        "to_first_step": pace.started - started + (pace.seconds_to_first_step or 0.0),
        "train": saving - pace.started - pace.evaluate_seconds,
        "evaluate": pace.evaluate_seconds,
        "checkpoint": now - saving,
        "total": now - started,
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
        versions=_versions(),
    )
    directory.write_json("report.json", report)
    return report


def _plan(
    config: Config,
    cluster: Cluster,
    devices: Devices,
    data: _Data,
    rate: LearningRate | None,
    distributed: DistributedModel,
) -> dict[str, object]:
    """What is going to happen, for the reader, before it does."""
    sharding, training = data.sharding, data.training
    addresses = ", ".join(cluster.addresses) or "this machine"
    model = distributed.model
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
    own_rate = type(model.optimizer).__name__
    rows: dict[str, object] = {
        "workers": f"{cluster.num_workers} ({addresses})",
        "devices": f"{devices.count} x {devices.names[0]} each, {sharding.num_replicas} replicas",
        "collectives": strategies.collectives_for(config, devices, cluster.num_workers),
        "batch": batch,
        "steps": f"{training.steps} an epoch, {config.epochs} epochs{dropped}",
        "learning rate": str(rate or "the model's own"),
        "optimizer": own_rate,
        "precision": f"{config.precision}, gradients travel as {config.wire_dtype}",
        "model": f"{model.name}, {model.count_params():,} parameters",
        "train data": training.description,
    }
    for split, evaluated in data.evaluated.items():
        size = "a stream" if evaluated.num_examples is None else f"{evaluated.num_examples} records"
        rows[f"{split} data"] = f"{size}, each exactly once"
    rows["versions"] = ", ".join(f"{name} {version}" for name, version in _versions().items())
    rows["run directory"] = config.run_dir
    return rows


def _settings(
    config: Config, cluster: Cluster, dataset: object, model: object, plan: dict[str, object]
) -> dict[str, object]:
    """The content of `config.json`."""
    return {
        **config.as_dict(),
        "dataset": name_of(dataset),
        "model": name_of(model),
        "workers": list(cluster.addresses),
        "plan": plan,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}


def _plain(value: Any) -> Any:  # noqa: ANN401
    return value.tolist() if isinstance(value, np.ndarray) else value
