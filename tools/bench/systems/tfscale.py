"""This project: Keras 3's `fit` on all workers."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tfscale.process.terminal import Terminal
from tfscale.settings import Config
from tfscale.startup.environment import set_environment
from tfscale.structures import Foreign, Structure
from tools.bench.task import Task
from tools.bench.workloads import workload as workloads

_EPOCH_STEPS = 32  # with a single one, every step would begin with a new order of all examples


class Run:
    """Trains with `fit`, and tells when the parts of the last step were done.

    Args:
        distributed: the model, ready.
        data: what it is trained on.
        clock: of a workload whose layers write down their times, or None.
        worker: global rank.
    """

    def __init__(self, distributed: Foreign, data: Structure, clock: Foreign, worker: int) -> None:
        self._distributed, self._data = distributed, data
        self._clock, self._worker = clock, worker

    def __call__(self, steps: int) -> None:
        """Trains."""
        self._distributed.model.fit(self._data, steps_per_epoch=steps, epochs=1, verbose=0)

    def step_times(self) -> dict[str, Any]:
        """When the parts of the last step were done, after a run of one step, in seconds."""
        boundary = self._distributed.boundary
        ready, done = self._distributed.parts.communication.last_step().numpy().tolist()
        times: dict[str, Any] = self._clock.times()
        spent = boundary.seconds[self._worker] - boundary.input_wait_seconds[self._worker]
        return {**times, "ready": ready, "done": done, "end": times["start"] + float(spent)}


def prepare(task: Task) -> Run:
    """Gets the job ready as `tfscale.train` does, and gives `fit`."""
    cluster, options = task.cluster, task.options
    set_environment(cluster)
    from tfscale.fit.prepare_job import prepare as prepare_job
    from tfscale.startup.job import Job

    config = Config(
        run_dir="nothing is written",
        wire_dtype=options.wire_dtype,
        bucket_mb=options.bucket_mb,
        compress=options.compress,
        devices=options.devices,
        jit=bool(options.jit),
        precision=options.precision,
    )
    # Where a device that waits stands for a GPU, the processors are as free as a GPU's host's.
    is_emulated = workloads.is_emulated(task)
    job = Job.start(config, cluster, Terminal(print), is_emulated=is_emulated)
    replicas = job.strategy.num_replicas_in_sync
    workload = None if task.dataset else workloads.load(task)
    examples = workload.examples_per_step if workload else task.batch_size
    job = replace(job, config=replace(config, batch_size=examples * replicas))
    if workload:
        prepared = prepare_job(job, _dataset(workload, replicas), _model(workload))
    else:
        prepared = prepare_job(job, task.dataset, task.workload)
    clock = getattr(workload, "clock", None)
    return Run(prepared.distributed, prepared.data.training, clock, cluster.index)


def _model(workload: workloads.Workload) -> SimpleNamespace:
    """The workload's network as a model file would give it, compiled as for other systems."""
    import keras

    def build() -> Foreign:
        model = workload.keras_model(keras)
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        model.compile(optimizer, workload.loss, jit_compile=False)
        return model

    return SimpleNamespace(build=build)


def _dataset(workload: workloads.Workload, replicas: int) -> SimpleNamespace:
    """The workload's batch as a dataset file would give it, often enough for an epoch."""
    import numpy as np
    import tensorflow as tf

    def load(split: str) -> Foreign:
        if split != "train":
            return None
        parts = [np.concatenate([part] * replicas * _EPOCH_STEPS) for part in workload.batch()]
        return tf.data.Dataset.from_tensor_slices(tuple(parts))

    return SimpleNamespace(load=load, task="regression")
