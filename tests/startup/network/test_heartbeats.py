"""What is relied on inside TensorFlow: if a new version has it no more, this says so."""

import inspect

import pytest
from tensorflow.python.distribute import collective_all_reduce_strategy, multi_worker_util
from tensorflow.python.eager import context

from tfscale.cluster.cluster import Cluster
from tfscale.cluster.tf_config import tf_config_of
from tfscale.startup.network import heartbeats
from tfscale.startup.network.heartbeats import set_heartbeat_timeout

HOSTS = ("node0:1111", "node1:1111", "node2:1111")


@pytest.fixture
def configured(monkeypatch):
    """What TensorFlow's context holds after the limit is set, in a context of its own."""
    own = context.Context()
    monkeypatch.setattr(heartbeats.context, "context", lambda: own)

    def configure(cluster):
        set_heartbeat_timeout(cluster, 7.5, pytest.fail)
        return own.coordination_service

    return configure


@pytest.mark.parametrize("has_chief", [False, True])
def test_the_service_has_the_limit_and_otherwise_what_the_strategy_gives_it(configured, has_chief):
    cluster = Cluster(HOSTS, 1, has_chief)
    found = configured(cluster)
    assert found.heartbeat_timeout_in_ms == 7500
    spec = multi_worker_util.normalize_cluster_spec(tf_config_of(cluster)["cluster"])
    assert found.service_type == "standalone"
    assert found.service_leader == multi_worker_util.coordination_leader(spec)
    assert found.enable_health_check
    jobs = {job.name: job.num_tasks for job in found.coordinated_job_list}
    assert jobs == {name: spec.num_tasks(name) for name in spec.jobs}


def test_the_strategy_leaves_a_service_that_is_configured_as_it_is():
    extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
    source = inspect.getsource(extended._initialize_multi_worker)
    assert "if context.context().coordination_service is None:" in source
    assert 'service_type="standalone"' in source


def test_a_tensorflow_without_it_keeps_its_own_limit_and_the_reader_is_told(monkeypatch):
    said = []
    monkeypatch.setattr(heartbeats.context, "context", lambda: None)
    set_heartbeat_timeout(Cluster(HOSTS, 1), 7.5, said.append)
    (line,) = said
    assert line.startswith("TensorFlow keeps its own --heartbeat_timeout: ")
