import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.startup.environment import (
    END_RECORD,
    check_environment,
    set_environment,
    take_end_record,
)

TWO = Cluster(("node0:1111", "node1:1111"), 1)


@pytest.fixture
def keras_not_imported_yet(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)


def _refusal(environ):
    with pytest.raises(ConfigError) as caught:
        check_environment(environ)
    return str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"KERAS_BACKEND": "tensorflow"},
        {"TF_USE_LEGACY_KERAS": ""},
        {"TF_USE_LEGACY_KERAS": "0"},
        {"TF_USE_LEGACY_KERAS": "False"},
    ],
)
@pytest.mark.usefixtures("keras_not_imported_yet")
def test_settings_under_which_keras_3_is_imported_are_fine(environ):
    check_environment(environ)


@pytest.mark.usefixtures("keras_not_imported_yet")
def test_another_backend_is_refused_with_what_to_type():
    message = _refusal({"KERAS_BACKEND": "jax"})
    assert "KERAS_BACKEND=jax is set; expected tensorflow" in message
    assert "unset KERAS_BACKEND" in message


@pytest.mark.parametrize("value", ["1", "true", "True", "yes"])
def test_keras_2_in_the_place_of_keras_3_is_refused_with_what_to_type(value):
    message = _refusal({"TF_USE_LEGACY_KERAS": value})
    assert f"TF_USE_LEGACY_KERAS={value} is set" in message
    assert "unset TF_USE_LEGACY_KERAS" in message


@pytest.mark.parametrize(("imported", "variable"), [("jax", "tensorflow"), ("torch", None)])
def test_the_backend_of_a_keras_that_is_already_imported_counts(monkeypatch, imported, variable):
    keras = SimpleNamespace(config=SimpleNamespace(backend=lambda: imported))
    monkeypatch.setitem(sys.modules, "keras", keras)
    environ = {} if variable is None else {"KERAS_BACKEND": variable}
    assert f"KERAS_BACKEND={imported}" in _refusal(environ)


def test_a_variable_that_comes_too_late_to_matter_is_no_error(monkeypatch):
    keras = SimpleNamespace(config=SimpleNamespace(backend=lambda: "tensorflow"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    check_environment({"KERAS_BACKEND": "jax"})


def test_a_worker_of_several_gets_its_own_task():
    environ = {}
    set_environment(TWO, environ)
    assert json.loads(environ["TF_CONFIG"]) == {
        "cluster": {"worker": ["node0:1111", "node1:1111"]},
        "task": {"type": "worker", "index": 1},
    }


def test_a_single_worker_has_no_tf_config():
    environ = {"TF_CONFIG": "of somebody else"}
    set_environment(Cluster(), environ)
    assert "TF_CONFIG" not in environ


def test_the_backend_is_set_so_that_no_file_in_a_home_decides():
    environ = {}
    set_environment(Cluster(), environ)
    assert environ["KERAS_BACKEND"] == "tensorflow"
    assert environ["TF_GPU_THREAD_MODE"] == "gpu_private"


def test_what_the_user_has_set_stays():
    environ = {"TF_GPU_THREAD_MODE": "global", "PATH": "/bin"}
    set_environment(Cluster(), environ)
    assert environ["TF_GPU_THREAD_MODE"] == "global"
    assert environ["PATH"] == "/bin"


def test_nccl_opens_no_port_of_its_own_unless_the_user_wants_it():
    environ, asked = {}, {"NCCL_RAS_ENABLE": "1"}
    set_environment(TWO, environ)
    set_environment(TWO, asked)
    assert (environ["NCCL_RAS_ENABLE"], asked["NCCL_RAS_ENABLE"]) == ("0", "1")


@pytest.mark.parametrize(
    ("given", "spared"),
    [
        ({}, "node0,node1"),
        ({"no_proxy": "localhost,node1"}, "localhost,node1,node0"),
        ({"no_proxy": "a", "no_grpc_proxy": "b"}, "b,node0,node1"),
        ({"no_grpc_proxy": ""}, "node0,node1"),
    ],
)
def test_what_workers_say_goes_through_no_proxy(given, spared):
    environ = {"http_proxy": "http://proxy:3128", **given}
    set_environment(TWO, environ)
    assert environ["no_grpc_proxy"] == spared
    # What the user's code and libraries read stays.
    assert {name: environ.get(name) for name in ("http_proxy", "no_proxy")} == {
        "http_proxy": "http://proxy:3128",
        "no_proxy": given.get("no_proxy"),
    }


def test_a_host_of_ipv6_is_spared_as_grpc_names_it():
    environ = {}
    set_environment(Cluster(("[fd00::1]:1111", "[fd00::2]:1111"), 0), environ)
    assert environ["no_grpc_proxy"] == "fd00::1,fd00::2"


def test_a_single_worker_changes_nothing_about_proxies():
    environ = {}
    set_environment(Cluster(), environ)
    assert "no_grpc_proxy" not in environ


def test_where_an_end_is_recorded_is_for_this_process_alone():
    environ = {END_RECORD: "/tmp/0.json", "HOME": "/"}
    assert take_end_record(environ) == Path("/tmp/0.json")
    assert environ == {"HOME": "/"}, "what this process starts must not speak for it"
    assert take_end_record(environ) is None
