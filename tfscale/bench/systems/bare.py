"""The same step in a plain `tf.function` without Keras: the floor for whatever stands above it."""

from collections.abc import Callable

from tfscale.bench.options import Options
from tfscale.bench.profile import Profile
from tfscale.cluster import Cluster, write_tf_config


def prepare(profile: Profile, cluster: Cluster, options: Options) -> Callable[[int], None]:
    """Makes variables and one function that loops over steps on the device."""
    import os

    write_tf_config(cluster, os.environ)
    import tensorflow as tf

    from tfscale.bench import emulation

    if cluster.num_workers == 1:
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    x, y = emulation.examples(profile)
    delays = [
        (emulation.Delay(layer.forward_ms), emulation.Delay(layer.backward_ms))
        for layer in profile.layers
    ]
    with strategy.scope():
        weights = [[tf.Variable(tf.zeros(s)) for s in layer.shapes] for layer in profile.layers]
        momenta = [tf.Variable(tf.zeros(v.shape)) for layer in weights for v in layer]
    variables = [variable for layer in weights for variable in layer]
    communication = tf.distribute.experimental.CommunicationOptions(
        bytes_per_pack=int(options.bucket_mb * 2**20)
    )

    def step() -> None:
        with tf.GradientTape() as tape:
            output = x
            for (forward, backward), own in zip(delays, weights, strict=True):
                read = [tf.convert_to_tensor(weight) for weight in own]
                output = emulation.waiting(output, read, forward, backward)
            loss = tf.reduce_mean((output - y) ** 2) / strategy.num_replicas_in_sync
        gradients = tape.gradient(loss, variables)
        context = tf.distribute.get_replica_context()
        if strategy.num_replicas_in_sync > 1:
            gradients = context.all_reduce(
                tf.distribute.ReduceOp.SUM, gradients, options=communication
            )
        context.merge_call(update, args=(gradients,))

    def update(strategy: tf.distribute.Strategy, gradients: list[tf.Tensor]) -> None:
        for variable, momentum, gradient in zip(variables, momenta, gradients, strict=True):
            strategy.extended.update(momentum, lambda m, g: m.assign(0.9 * m - 0.01 * g), (gradient,))
            strategy.extended.update(variable, lambda v, m: v.assign_add(m), (momentum,))

    @tf.function
    def loop(steps: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(steps):
            strategy.run(step)
        return steps

    return lambda steps: loop(tf.constant(steps)).numpy()
