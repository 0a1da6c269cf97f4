"""S1, and what stands between workers: one open port a worker, and no proxy in their way."""

import psutil
import pytest

from tests.faults.running import Running
from tests.startup.greeting import free_port


@pytest.fixture(scope="module")
def training():
    """Two workers that train, in a shell that has a proxy which nobody can reach."""
    proxy = f"http://127.0.0.1:{free_port()}"
    with pytest.MonkeyPatch.context() as shell:
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            shell.setenv(name, proxy)
        for name in ("no_proxy", "no_grpc_proxy"):
            shell.delenv(name, raising=False)
        with Running(2) as job:
            yield job


def test_workers_train_in_a_shell_that_has_a_proxy(training):
    training.wait_until_training()


def test_each_worker_listens_at_its_own_port_alone(training):
    training.wait_until_training()
    for rank, worker in training.workers.items():
        listening = [
            each.laddr.port
            for each in psutil.Process(worker.member.pid).net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        ]
        assert {f"127.0.0.1:{port}" for port in listening} == {training.hosts[rank]}


def test_workers_of_one_machine_are_told_nothing_of_its_ports(training):
    training.wait_until_training()
    assert all(
        "without authentication" not in one.out.read_text() for one in training.workers.values()
    )
