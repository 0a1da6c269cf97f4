import ctypes
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tfscale.errors import ConfigError
from tfscale.startup.gpu_libraries import installed_cudnn, require_driven

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements-gpu.txt"
V100 = ("Tesla V100-SXM2-16GB", (7, 0))
T4 = ("Tesla T4", (7, 5))
H100 = ("NVIDIA H100 80GB HBM3", (9, 0))


@pytest.fixture
def wheels(monkeypatch, tmp_path):
    """An empty folder in which alone installed packages are looked for."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def _install(folder, version):
    described = folder / f"nvidia_cudnn_cu12-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: nvidia-cudnn-cu12\nVersion: {version}\n"
    )


@pytest.fixture
def system(monkeypatch):
    """What the system's libraries are, by name; the dynamic linker sees no others."""
    libraries = {}

    def load(name):
        if name not in libraries:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return libraries[name]

    monkeypatch.setattr(ctypes, "CDLL", load)
    return libraries


def _library(number):
    def get_version():
        assert get_version.restype is ctypes.c_size_t
        return number

    return SimpleNamespace(cudnnGetVersion=get_version)


def test_the_package_is_what_tensorflow_loads_whatever_the_system_has(wheels, system):
    _install(wheels, "9.10.2.21")
    system["libcudnn.so.9"] = _library(91301)
    assert installed_cudnn() == (9, 10, 2)


@pytest.mark.parametrize(
    ("number", "version"), [(90000, (9, 0, 0)), (91002, (9, 10, 2)), (92801, (9, 28, 1))]
)
@pytest.mark.usefixtures("wheels")
def test_without_the_package_it_is_the_systems(system, number, version):
    system["libcudnn.so.9"] = _library(number)
    assert installed_cudnn() == version


@pytest.mark.usefixtures("wheels", "system")
def test_without_either_there_is_none():
    assert installed_cudnn() is None


@pytest.mark.usefixtures("wheels")
def test_a_library_that_does_not_say_its_version_is_as_good_as_none(system):
    system["libcudnn.so.9"] = SimpleNamespace()
    assert installed_cudnn() is None


@pytest.mark.usefixtures("system")
def test_a_package_of_a_version_that_nobody_can_read_is_as_good_as_none(wheels):
    _install(wheels, "9.dev")
    assert installed_cudnn() is None


@pytest.mark.parametrize(
    ("name", "capability", "written"),
    [
        ("Quadro M2000", (5, 2), "5.2"),
        ("Tesla P100-PCIE-16GB", (6, 0), "6.0"),
        ("Tesla V100-SXM2-16GB", (7, 0), "7.0"),
        ("Xavier", (7, 2), "7.2"),
    ],
)
@pytest.mark.parametrize("cudnn", [(9, 11, 0), (9, 28, 0), (10, 0, 0)])
def test_a_gpu_before_turing_is_refused_with_a_cudnn_that_has_no_code_for_it(
    name, capability, written, cudnn
):
    with pytest.raises(ConfigError) as caught:
        require_driven([H100, (name, capability)], cudnn)
    message = str(caught.value)
    assert f"{name} (compute capability {written})" in message
    assert f"cuDNN {'.'.join(map(str, cudnn))}," in message
    assert "expected cuDNN 9.10 or older" in message
    assert ".venv/bin/pip install -r requirements-gpu.txt" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("gpu", "cudnn"),
    [
        (V100, (9, 3, 0)),
        (V100, (9, 10, 2)),
        (T4, (9, 11, 0)),
        (H100, (9, 28, 0)),
        # Nothing is refused on a guess.
        (V100, None),
        (("a GPU that doesn't say", None), (9, 28, 0)),
    ],
)
def test_what_is_driven_or_unknown_is_fine(gpu, cudnn):
    require_driven([gpu], cudnn)


def test_a_worker_without_gpus_is_fine():
    require_driven([], (9, 28, 0))


def test_the_version_that_is_pinned_drives_a_v100_and_is_the_one_the_refusal_names():
    (pinned,) = re.findall(r"^nvidia-cudnn-cu12==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    major, minor, patch, _ = map(int, pinned.split("."))
    require_driven([V100], (major, minor, patch))
    with pytest.raises(ConfigError, match=f"nvidia-cudnn-cu12=={re.escape(pinned)}"):
        require_driven([V100], (9, 11, 0))
