"""The same step in a plain `tf.function` without Keras: the floor for whatever stands above it."""

from collections.abc import Callable

from tfscale.startup import environment as device_setup
from tools.bench.task import Task
from tools.bench.workloads import workload as workloads


def prepare(task: Task) -> Callable[[int], None]:
    """Makes variables and one function that loops over steps on the device."""
    device_setup.set_environment(task.cluster)
    import tensorflow as tf

    if task.cluster.num_workers == 1:
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    workload = workloads.load(task)
    batch = tf.data.Dataset.from_tensors(workload.batch()).cache().repeat().prefetch(2)
    with strategy.scope():
        variables, loss_of = workload.plain()
        momenta = [tf.Variable(tf.zeros(variable.shape)) for variable in variables]
    communication = tf.distribute.experimental.CommunicationOptions(
        bytes_per_pack=int((task.options.bucket_mb or 8) * 2**20)
    )

    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        context = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            loss = loss_of(x, y) / strategy.num_replicas_in_sync
        gradients = tape.gradient(loss, variables)
        if strategy.num_replicas_in_sync > 1:
            gradients = context.all_reduce(
                tf.distribute.ReduceOp.SUM, gradients, options=communication
            )
        context.merge_call(update, args=(gradients,))

    def update(strategy: tf.distribute.Strategy, gradients: list[tf.Tensor]) -> None:
        for variable, momentum, gradient in zip(variables, momenta, gradients, strict=True):
            strategy.extended.update(
                momentum, lambda m, g: m.assign(0.9 * m - 0.01 * g), (gradient,)
            )
            strategy.extended.update(variable, lambda v, m: v.assign_add(m), (momentum,))

    @tf.function
    def loop(iterator: tf.data.Iterator, steps: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(steps):
            strategy.run(step, args=next(iterator))
        return steps

    iterator = iter(batch)
    return lambda steps: loop(iterator, tf.constant(steps)).numpy()
