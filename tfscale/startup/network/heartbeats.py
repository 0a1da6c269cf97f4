"""How long TensorFlow waits for a worker that says nothing before it ends the others' collectives.

The limit of its coordination service (10 s unless somebody sets it) has no public name. The
strategy configures the service unless that has been done before; here it is done before, with the
same workers and leader. tests/startup/network/test_heartbeats.py says what this relies on: if a new
version has it no more, the workers do with TensorFlow's own limit, beside which `peer_watch` looks.
"""

from collections.abc import Callable

from tensorflow.python.eager import context

from tfscale.cluster.cluster import Cluster


def set_heartbeat_timeout(
    cluster: Cluster, timeout_seconds: float, complain: Callable[[str], None]
) -> None:
    """Sets the limit; call it before the strategy of several workers is made.

    Args:
        cluster: all workers.
        timeout_seconds: from the last sign of life of a worker to its being given up.
        complain: gets a line if it can't be set.
    """
    try:
        from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2

        chiefs = int(cluster.has_chief)
        sizes = {"chief": chiefs, "worker": cluster.num_workers - chiefs}
        context.context().configure_coordination_service(
            service_type="standalone",
            service_leader=f"/job:{'chief' if chiefs else 'worker'}/replica:0/task:0",
            heartbeat_timeout_in_ms=int(1000 * timeout_seconds),
            coordinated_jobs=[
                coordination_config_pb2.CoordinatedJob(name=name, num_tasks=size)
                for name, size in sizes.items()
                if size
            ],
        )
    except (ImportError, AttributeError, TypeError) as error:
        complain(f"TensorFlow keeps its own --heartbeat_timeout: {error}")
