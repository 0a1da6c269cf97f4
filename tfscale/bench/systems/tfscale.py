"""This project: Keras 3's `fit` on all workers."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tfscale import devices as device_setup
from tfscale.bench import workloads
from tfscale.bench.task import Task
from tfscale.config import Config


def prepare(task: Task) -> Callable[[int], None]:
    """Makes strategy, input and model as `tfscale.train` does, and gives `fit`."""
    cluster, options = task.cluster, task.options
    device_setup.set_environment(cluster)
    import keras
    import tensorflow as tf

    from tfscale import strategy as strategies
    from tfscale.distributed import DistributedModel, StepOptions
    from tfscale.inputs import read_inputs
    from tfscale.model_file import build_model, read_model_file
    from tfscale.objectives import compile_model
    from tfscale.schedules import learning_rate
    from tfscale.sharding import Sharding

    dataset: Any
    if task.dataset:
        dataset, examples_per_step = task.dataset, task.batch_size
    else:
        workload = workloads.load(task)
        examples_per_step = workload.examples_per_step

        def load(split: str) -> tf.data.Dataset | None:
            slices = tf.data.Dataset.from_tensor_slices(workload.batch())
            return slices.repeat(cluster.num_workers) if split == "train" else None

        dataset = SimpleNamespace(load=load, task="regression")
    config = Config(
        run_dir="nothing is written",
        batch_size=examples_per_step * cluster.num_workers * max(options.devices, 1),
        wire_dtype=options.wire_dtype,
        bucket_mb=options.bucket_mb,
        compress=options.compress,
        devices=options.devices,
    )
    devices = device_setup.prepare(config)
    strategy = strategies.create(config, cluster, devices, print)
    sharding = Sharding(config.batch_size, cluster.num_workers, cluster.index, devices.count)
    data = read_inputs(config, dataset, sharding, strategy)
    if task.dataset:
        model = build_model(
            read_model_file(task.workload, ()), data.file, data.training.spec, strategy
        )
        if not model.compiled:
            rate = learning_rate(config, steps_per_epoch=data.training.steps or 0)
            compile_model(model, data.file, config, rate, data.training.spec, strategy)
    else:
        with strategy.scope():
            model = workload.keras_model(keras)
            model.compile(keras.optimizers.SGD(0.01, momentum=0.9), workload.loss)
    distributed = DistributedModel(
        model,
        strategy,
        spec=data.training.spec,
        options=StepOptions(
            bucket_bytes=_bucket_bytes(config, model, strategy),
            wire_dtype=config.wire_dtype,
            compress=options.compress,
        ),
        worker=cluster.index,
        num_workers=cluster.num_workers,
    )

    def run(steps: int) -> None:
        distributed.model.fit(data.training, steps_per_epoch=steps, epochs=1, verbose=0)

    return run


def _bucket_bytes(config: Config, model: Any, strategy: Any) -> int:  # noqa: ANN401
    """The size that training chooses too; nothing is remembered between benchmarks."""
    from tfscale import bucket_size

    if config.bucket_bytes or strategy.num_replicas_in_sync == 1:
        return config.bucket_bytes or 1
    gradient_bytes = 4 * model.count_params()
    share = 1.0 if config.wire_dtype == "float32" else 0.5
    return bucket_size.best(bucket_size.measure(strategy), gradient_bytes, wire_share=share)
