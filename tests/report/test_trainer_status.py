"""What a pod of a TrainJob tells Kubeflow Trainer."""

import shutil
import ssl
from types import SimpleNamespace

import pytest

from tests.report.boundaries import boundary_of
from tests.report.trainer_server import PATH, certificate_in, environ_of, serving
from tfscale.fit.loop.events import EpochEnd, Point
from tfscale.report import trainer_status
from tfscale.report.trainer_status import Server, TrainerStatus, status_listeners

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="it needs openssl")
NAMES = ("URL", "CA_CERT", "TOKEN")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificate_in(tmp_path_factory.mktemp("tls"))


def _job(is_chief=True, epochs=4):
    said = []
    return SimpleNamespace(
        cluster=SimpleNamespace(is_chief=is_chief),
        config=SimpleNamespace(epochs=epochs),
        terminal=SimpleNamespace(complain=said.append),
        said=said,
    )


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(trainer_status.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


def test_progress_time_left_and_figures_come_in_the_form_that_trainer_reads(
    certificate, token, clock
):
    with serving(certificate) as server:
        (listener,) = status_listeners(environ_of(server.port, certificate.path, token))
        listener.begin(_job(), None)
        listener.at_point(Point("fit", 5, 10, 5))
        listener._wait()
        clock.now += 60
        token.write_text("second\n")  # it is exchanged now and then
        listener.at_boundary(boundary_of(logs={"loss": 0.25}))
        listener.at_point(Point("fit", 5, 10, 15))
        listener._wait()
    first, second = server.got
    assert first.path == second.path == PATH
    assert first.headers["Authorization"] == "Bearer first"
    assert second.headers["Authorization"] == "Bearer second"
    status = second.body["trainerStatus"]
    assert status.pop("lastUpdatedTime").endswith("+00:00")
    assert status == {
        "progressPercentage": 37,  # 15 of 4 times 10 steps
        "estimatedRemainingSeconds": 150,  # as 60 s for a quarter
        "metrics": [{"name": "loss", "value": "0.25"}],
    }
    assert "estimatedRemainingSeconds" not in first.body["trainerStatus"]


def test_it_is_told_no_more_often_than_asked_and_at_the_end_whatever_came_before(
    certificate, token, clock
):
    with serving(certificate) as server:
        (listener,) = status_listeners(environ_of(server.port, certificate.path, token))
        listener.begin(_job(epochs=2), None)
        for step in range(1, 10):
            listener.at_point(Point("fit", step, 10, step))
            listener._wait()
            clock.now += 1
        listener.at_epoch_end(EpochEnd(0, 10, {"loss": 1.0, "val_loss": 2.0, "picture": "x"}))
        assert len(server.got) == 1
        assert listener.report() == {}
    status = server.got[-1].body["trainerStatus"]
    assert len(server.got) == 2
    assert status["progressPercentage"] == 100
    assert [each["name"] for each in status["metrics"]] == ["loss", "val_loss"]


def test_an_epoch_of_unknown_length_counts_as_a_whole(certificate, token, clock):
    with serving(certificate) as server:
        (listener,) = status_listeners(environ_of(server.port, certificate.path, token))
        listener.begin(_job(epochs=4), None)
        listener.at_point(Point("fit", 5, None, 5))
        listener._wait()
        listener.at_epoch_end(EpochEnd(0, 10, {}))
        clock.now += 20
        listener.at_point(Point("validation", 0, None, 10))
        listener._wait()
    assert "progressPercentage" not in server.got[0].body["trainerStatus"]
    assert server.got[1].body["trainerStatus"]["progressPercentage"] == 25


def test_the_chief_alone_tells(certificate, token):
    with serving(certificate) as server:
        (listener,) = status_listeners(environ_of(server.port, certificate.path, token))
        listener.begin(_job(is_chief=False), None)
        listener.at_point(Point("fit", 5, 10, 5))
        listener.at_epoch_end(EpochEnd(0, 10, {}))
        listener.report()
        listener._wait()
    assert server.got == []


@pytest.mark.parametrize("case", ["refused", "nobody", "other authority", "no token", "no TLS"])
def test_a_server_that_does_not_take_it_costs_one_line_and_no_training(
    case, certificate, token, clock
):
    words = {
        "refused": "403 Forbidden",
        "nobody": "refused",
        "other authority": "CERTIFICATE_VERIFY_FAILED",
        "no token": "No such file",
        "no TLS": "no address of HTTPS",
    }[case]
    with serving(certificate, status=403) as server:
        environ = environ_of(server.port, certificate.path, token)
        if case == "nobody":
            environ["KUBEFLOW_TRAINER_SERVER_URL"] = f"https://localhost:1{PATH}"
        if case == "other authority":
            environ["KUBEFLOW_TRAINER_SERVER_CA_CERT"] = ssl.get_default_verify_paths().cafile or ""
        if case == "no token":
            token.unlink()
        if case == "no TLS":
            environ["KUBEFLOW_TRAINER_SERVER_URL"] = f"http://localhost:{server.port}{PATH}"
        job, found = _job(), [environ[f"KUBEFLOW_TRAINER_SERVER_{name}"] for name in NAMES]
        listener = TrainerStatus(Server(*found))
        listener.begin(job, None)
        for step in range(1, 4):
            listener.at_point(Point("fit", step, 10, step))
            listener._wait()
            clock.now += 20
        listener.report()
    (line,) = job.said
    assert words in line
    assert line.startswith("Kubeflow Trainer isn't told how far this run is (")
    assert "first" not in line, "a token is nobody's business"


def test_outside_of_a_trainjob_nobody_is_told():
    assert status_listeners({"HOME": "/home/me"}) == []
    assert status_listeners({"KUBEFLOW_TRAINER_SERVER_URL": "https://x"}) == []
