import os

import pytest

from tools.doctor import gpus
from tools.doctor.findings import Reason, Severity

pytestmark = pytest.mark.promise("doctor")

CARD = "Tesla V100-SXM2-16GB, 570.1, 7.0, 16384 MiB"
NONE = {"driver": "missing", "driver_said": "", "cards": [], "cards_of_kernel": 0, "visible": None}
V100S = {**NONE, "driver": "done", "cards": [CARD, CARD], "cards_of_kernel": 2}
V100 = {"name": "Tesla V100-SXM2-16GB", "capability": [7, 0]}
SEES_TWO = {"gpus": [V100, V100], "cudnn": [9, 10, 2], "missing_libraries": []}
SEES_NONE = {"gpus": [], "cudnn": None, "missing_libraries": ["libcuda.so.1"]}


def _judge(found, seen, asked=0):
    return [(one.reason, one.severity, one.came) for one in gpus.judge(found, seen, asked)]


def test_a_node_without_gpus_is_fine_where_none_is_asked_for():
    assert _judge(NONE, SEES_NONE) == []


def test_gpus_that_tensorflow_sees_are_fine():
    assert _judge(V100S, SEES_TWO, asked=2) == []


def test_no_gpu_where_one_was_asked_for():
    ((reason, severity, came),) = _judge(NONE, SEES_NONE, asked=1)
    assert (reason, severity) == (Reason.GPU_MISSING, Severity.FAIL)
    assert came == "TensorFlow sees 0 GPUs, and nvidia-smi isn't there"


def test_fewer_than_asked_for():
    ((reason, _, came),) = _judge({**V100S, "visible": "0,1"}, SEES_TWO, asked=4)
    assert (reason, came) == (
        Reason.GPU_MISSING,
        "TensorFlow sees 2 GPUs (CUDA_VISIBLE_DEVICES='0,1')",
    )


def test_tensorflow_that_would_silently_use_the_cpu_names_the_library():
    ((reason, severity, came),) = _judge(
        V100S, {**SEES_NONE, "missing_libraries": ["libcudnn.so.9"]}
    )
    assert (reason, severity) == (Reason.GPU_UNUSED, Severity.FAIL)
    assert "would silently use the CPU: it can't load libcudnn.so.9" in came


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_gpus_that_somebody_has_hidden_are_a_warning(hidden):
    ((reason, severity, came),) = _judge({**V100S, "visible": hidden}, SEES_NONE)
    assert (reason, severity) == (Reason.GPU_UNUSED, Severity.WARN)
    assert came.startswith(f"CUDA_VISIBLE_DEVICES={hidden!r} hides the 2 GPUs")


def test_a_cudnn_too_new_for_the_gpu():
    ((reason, severity, came),) = _judge(V100S, {**SEES_TWO, "cudnn": [9, 28, 0]})
    assert (reason, severity) == (Reason.CUDNN, Severity.FAIL)
    assert "was found with cuDNN 9.28.0" in came


def test_a_driver_that_fails_matters_where_there_are_gpus():
    failed = {**NONE, "driver": "failed", "driver_said": "couldn't communicate"}
    assert _judge(failed, SEES_NONE) == []
    reasons = [reason for reason, *_ in _judge(failed, SEES_NONE, asked=1)]
    assert reasons == [Reason.DRIVER, Reason.GPU_MISSING]


def _program(folder, text):
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_nvidia_smi_that_never_returns_is_killed_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "_SECONDS", 0.5)
    environ = _program(tmp_path, "sleep 60")
    monkeypatch.setenv("PATH", environ["PATH"])  # by which a program is found
    found = gpus.facts(environ, tmp_path)
    ((reason, severity, came),) = _judge(found, SEES_NONE)
    assert (reason, severity) == (Reason.DRIVER, Severity.FAIL)
    assert came == "nvidia-smi has not answered within 0.5 s and was killed"


def test_what_nvidia_smi_says_is_read(tmp_path, monkeypatch):
    environ = _program(tmp_path, f"echo '{CARD}'; echo '{CARD}'")
    monkeypatch.setenv("PATH", environ["PATH"])
    assert gpus.facts(environ, tmp_path) == {**V100S, "cards_of_kernel": 0}
