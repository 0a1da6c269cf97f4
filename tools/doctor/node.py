"""One node by itself: what it is, and what is wrong with it."""

from collections.abc import Callable

from tfscale.cluster import exposure
from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError, WorkerError
from tfscale.startup.environment import check_environment
from tfscale.structures import Json
from tools.doctor import comparison, gpus, machine, packages, ways
from tools.doctor.asked import Asked
from tools.doctor.findings import Finding, Reason, fail, refused
from tools.doctor.tensorflow_process import TensorflowProcess
from tools.doctor.time_limits import all_within

SECONDS = 32.0  # for all that a node is asked
_TENSORFLOW_SECONDS = 30.0  # to be imported on a busy machine, from a slow disk

Facts = dict[str, Json]


def facts(asked: Asked, cluster: Cluster, tensorflow: TensorflowProcess) -> Facts:
    """All that is asked of a node, at the same time.

    Args:
        asked: what a run would be.
        cluster: who the workers are.
        tensorflow: is started, and goes on waiting for an order.
    """
    environ = asked.environ

    def see() -> Facts:
        try:
            tensorflow.see(_TENSORFLOW_SECONDS)
        except WorkerError as error:
            return {"problem": error.reason}
        return tensorflow.facts

    probes: list[Callable[[], Facts]] = [
        see,
        packages.facts,
        lambda: machine.facts(cluster, environ),
        lambda: gpus.facts(environ),
        lambda: ways.facts(cluster, environ),
    ]
    names = ("tensorflow", "packages", "machine", "gpus", "ways")
    nothing: Facts = {}
    found = dict(zip(names, all_within(SECONDS, probes, nothing), strict=True))
    return {**found, "variables": comparison.variables(environ)}


def judge(found: Facts, asked: Asked, cluster: Cluster) -> list[Finding]:
    """What is wrong with this node.

    Args:
        found: its `facts`; what didn't answer in time is empty there.
        asked: what a run would be.
        cluster: as it sees it.
    """
    findings = _of_settings(asked, cluster)
    seen, driver = found["tensorflow"], found["gpus"]
    problem = seen.get("problem", "") if seen else "it has not answered in time"
    if problem:
        seen = {}
        findings.append(
            fail(
                Reason.TENSORFLOW,
                f"TensorFlow can't be asked: {problem}",
                "a process that imports it and lists its devices",
                'Type: .venv/bin/python -c "import tensorflow as tf; '
                'print(tf.config.list_physical_devices())".',
            )
        )
    has_gpu = bool(driver) and gpus.has_gpu(driver)
    if found["packages"]:
        findings += packages.judge(found["packages"], has_gpu=has_gpu)
    if found["machine"]:
        number = len(seen.get("gpus", []))
        findings += machine.judge({**found["machine"], "gpus": number})
    if driver:
        findings += gpus.judge(driver, seen, asked.least_gpus)
    if found["ways"]:
        findings += ways.judge(found["ways"], cluster, has_gpu=bool(seen.get("gpus")))
    return [finding.at(cluster.index) for finding in findings]


def _of_settings(asked: Asked, cluster: Cluster) -> list[Finding]:
    """What a run refuses in its own words."""
    findings = []
    checks: list[tuple[Reason, Callable[[], None]]] = [
        (Reason.ENVIRONMENT, lambda: check_environment(asked.environ)),
        (
            Reason.PUBLIC_ADDRESS,
            lambda: exposure.require_private(cluster, is_public_allowed=asked.is_public_allowed),
        ),
    ]
    for reason, check in checks:
        try:
            check()
        except ConfigError as error:
            findings.append(refused(reason, error))
    return findings
