"""This project: Keras 3's `fit` on all workers."""

from collections.abc import Callable
from types import SimpleNamespace

from tfscale.bench.options import Options
from tfscale.bench.profile import Profile
from tfscale.cluster import Cluster


def prepare(profile: Profile, cluster: Cluster, options: Options) -> Callable[[int], None]:
    """Makes strategy, input and model as `tfscale.train` does, and gives `fit`."""
    from tfscale import devices as device_setup

    device_setup.set_environment(cluster)
    import keras
    import tensorflow as tf

    from tfscale import strategy as strategies
    from tfscale.bench import emulation
    from tfscale.config import Config
    from tfscale.distributed import DistributedModel, StepOptions
    from tfscale.inputs import read_inputs
    from tfscale.sharding import Sharding

    config = Config(
        run_dir="unused",
        batch_size=profile.examples_per_step * cluster.num_workers,
        wire_dtype=options.wire_dtype,
        bucket_mb=options.bucket_mb,
    )
    devices = device_setup.prepare(config, cluster)
    strategy = strategies.create(config, cluster, devices, print)

    def load(split: str) -> tf.data.Dataset | None:
        if split != "train":
            return None
        x, y = emulation.examples(profile)
        return tf.data.Dataset.from_tensor_slices((x, y)).repeat(cluster.num_workers)

    dataset = SimpleNamespace(load=load, task="regression")
    sharding = Sharding(config.batch_size, cluster.num_workers, cluster.index, devices.count)
    data = read_inputs(config, dataset, sharding, strategy)
    with strategy.scope():
        model = emulation.build_model(profile, keras)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse", jit_compile=False)
    step_options = StepOptions(
        bucket_bytes=config.bucket_bytes,
        wire_dtype=config.wire_dtype,
        steps_per_execution=options.steps_per_call,
    )
    distributed = DistributedModel(
        model,
        strategy,
        spec=data.training.spec,
        options=step_options,
        worker=cluster.index,
        num_workers=cluster.num_workers,
    )

    def run(steps: int) -> None:
        distributed.model.fit(data.training, steps_per_epoch=steps, epochs=1, verbose=0)

    return run
