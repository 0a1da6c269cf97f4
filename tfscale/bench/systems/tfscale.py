"""This project: Keras 3's `fit` on all workers."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tfscale.bench import workloads
from tfscale.bench.task import Task
from tfscale.config import Config
from tfscale.startup import devices as device_setup
from tfscale.startup import environment

_EPOCH_STEPS = 32  # with a single one, every step would begin with a new order of all examples


class Run:
    """Trains with `fit`, and tells when the parts of the last step were done.

    Args:
        distributed: the model, ready.
        data: what it is trained on.
        clock: of a workload whose layers write down their times, or None.
        worker: global rank.
    """

    def __init__(self, distributed: Any, data: Any, clock: Any, worker: int) -> None:  # noqa: ANN401
        """Holds them."""
        self._distributed, self._data = distributed, data
        self._clock, self._worker = clock, worker

    def __call__(self, steps: int) -> None:
        """Trains."""
        self._distributed.model.fit(self._data, steps_per_epoch=steps, epochs=1, verbose=0)

    def step_times(self) -> dict[str, Any]:
        """When the parts of the last step were done, after a run of one step, in seconds."""
        boundary = self._distributed.boundary
        ready, done = self._distributed.communication.last_step().numpy().tolist()
        times: dict[str, Any] = self._clock.times()
        spent = boundary.seconds[self._worker] - boundary.input_wait_seconds[self._worker]
        return {**times, "ready": ready, "done": done, "end": times["start"] + float(spent)}


def prepare(task: Task) -> Run:
    """Makes strategy, input and model as `tfscale.train` does, and gives `fit`."""
    cluster, options = task.cluster, task.options
    environment.set_environment(cluster)
    import keras

    from tfscale.data.sharding import Sharding
    from tfscale.data.splits import read_inputs
    from tfscale.fit.distributed_model import DistributedModel, StepOptions
    from tfscale.model.learning_rate import learning_rate
    from tfscale.model.model_file import build_model, read_model_file
    from tfscale.model.task import compile_model
    from tfscale.startup import strategy as strategies

    config = Config(
        run_dir="nothing is written",
        wire_dtype=options.wire_dtype,
        bucket_mb=options.bucket_mb,
        compress=options.compress,
        devices=options.devices,
    )
    # Where a device that waits stands for a GPU, the processors are as free as a GPU's host's.
    devices = device_setup.prepare(config, cluster, is_emulated=workloads.is_emulated(task))
    strategy = strategies.create(config, cluster, devices, print)
    replicas = strategy.num_replicas_in_sync
    workload = None if task.dataset else workloads.load(task)
    examples = workload.examples_per_step if workload else task.batch_size
    config = replace(config, batch_size=examples * replicas)

    dataset = _dataset(workload, replicas) if workload else task.dataset
    sharding = Sharding(config.batch_size, cluster.num_workers, cluster.index, devices.count)
    data = read_inputs(config, dataset, sharding, strategy)
    if workload:
        with strategy.scope():
            model = workload.keras_model(keras)
            model.compile(
                keras.optimizers.SGD(0.01, momentum=0.9), workload.loss, jit_compile=False
            )
    else:
        file = read_model_file(task.workload, ())
        model = build_model(file, data.file, data.training.spec, strategy)
        if not model.compiled:
            rate = learning_rate(config, steps_per_epoch=data.training.steps or 0)
            compile_model(model, data.file, config, rate, data.training.spec, strategy)
    distributed = DistributedModel(
        model,
        strategy,
        spec=data.training.spec,
        options=StepOptions(
            bucket_bytes=_bucket_bytes(config, model, strategy),
            wire_dtype=config.wire_dtype,
            compress=options.compress,
            jit=bool(options.jit),
        ),
        worker=cluster.index,
        num_workers=cluster.num_workers,
    )
    return Run(distributed, data.training, getattr(workload, "clock", None), cluster.index)


def _bucket_bytes(config: Config, model: Any, strategy: Any) -> int:  # noqa: ANN401
    """The size that training chooses too; nothing is remembered between benchmarks."""
    from tfscale.gradients import bucket_size, link_times

    if config.bucket_bytes or strategy.num_replicas_in_sync == 1:
        return config.bucket_bytes or 1
    gradient_bytes = 4 * model.count_params()
    share = 1.0 if config.wire_dtype == "float32" else 0.5
    return bucket_size.best(link_times.measure(strategy), gradient_bytes, wire_share=share)


def _dataset(workload: workloads.Workload, replicas: int) -> SimpleNamespace:
    """The workload's batch as a dataset file would give it, often enough for an epoch."""
    import numpy as np
    import tensorflow as tf

    def load(split: str) -> Any:  # noqa: ANN401
        if split != "train":
            return None
        parts = [np.concatenate([part] * replicas * _EPOCH_STEPS) for part in workload.batch()]
        return tf.data.Dataset.from_tensor_slices(tuple(parts))

    return SimpleNamespace(load=load, task="regression")
