import sys

import pytest

from tools.doctor import packages
from tools.doctor.findings import Severity

PINS = packages.pins(packages.ON_CPU)
RIGHT = {"python": "3.11.7", "packages": PINS, "plugins": []}


def _judge(*, has_gpu=False, **other):
    return packages.judge({**RIGHT, **other}, has_gpu=has_gpu)


def test_pins_are_read_with_extras_and_comments():
    assert PINS["keras"] == "3.15.1"
    assert packages.pins(packages.ON_GPU)["tensorflow"] == PINS["tensorflow"]


def test_what_is_pinned_is_right():
    assert _judge() == []


def test_another_version_is_named_with_the_pin():
    (found,) = _judge(packages={**PINS, "keras": "3.14.0"})
    assert found.severity is Severity.WARN
    assert found.came == "keras 3.14.0"
    assert found.expected == "keras==3.15.1 (requirements.txt)"


def test_a_package_without_which_nothing_starts_is_fatal_when_it_is_missing():
    without = {name: version for name, version in PINS.items() if name != "keras"}
    (found,) = _judge(packages=without)
    assert (found.severity, found.came) == (Severity.FAIL, "keras missing")
    without = {name: version for name, version in PINS.items() if name != "pillow"}
    assert [one.severity for one in _judge(packages=without)] == [Severity.WARN]


def test_of_many_packages_the_first_are_shown():
    (found,) = _judge(packages={})
    assert found.came.endswith(f", and {len(PINS) - 6} more")


def test_a_gpu_needs_its_libraries():
    (found,) = _judge(has_gpu=True)
    assert "nvidia-cudnn-cu12 missing" in found.came
    assert "requirements-gpu.txt" in found.remedy


@pytest.mark.parametrize("python", ["3.10.1", "3.14.0"])
def test_a_python_for_which_there_is_no_tensorflow_is_fatal(python):
    (found,) = _judge(python=python)
    assert (found.severity, found.came) == (Severity.FAIL, f"Python {python}")


def test_plugins_are_the_libraries_in_folders_that_tensorflow_looks_into(tmp_path):
    folder = tmp_path / "site-packages" / "tensorflow-plugins"
    folder.mkdir(parents=True)
    for name in ("libmetal.so", "readme.txt"):
        (folder / name).touch()
    assert packages.plugins([str(folder.parent), str(tmp_path)]) == ["libmetal.so"]


def test_the_facts_of_this_environment_are_found(monkeypatch, tmp_path):
    info = tmp_path / "keras-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 0.1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = packages.facts()
    assert found["packages"]["keras"] == "0.1"
    assert found["packages"]["numpy"] == PINS["numpy"]
