"""What Python finds installed: versions beside the pins of this repository, and plug-ins."""

import re
import site
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from tfscale.structures import Json
from tools.doctor.findings import Finding, Reason, fail, warn

_ROOT = Path(__file__).resolve().parents[2]
ON_CPU, ON_GPU = _ROOT / "requirements.txt", _ROOT / "requirements-gpu.txt"
_PIN = re.compile(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)")
_PYTHONS = ((3, 11), (3, 13))  # those for which this TensorFlow has wheels
# Without these nothing starts; others are imported by single formats and tasks.
_NEEDED = (
    *("tensorflow", "keras", "numpy", "tensorboard", "absl-py", "rich", "psutil"),
    *("filelock", "google-crc32c", "safetensors"),
)
_MOST_SHOWN = 6


def pins(path: Path) -> dict[str, str]:
    """The versions that a file of requirements asks for, without those of a file that it includes.

    Args:
        path: of the file.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    return {found[1]: found[2] for line in lines if (found := _PIN.match(line))}


def facts() -> dict[str, Json]:
    """`python`, `packages` (the version of each that is pinned and there) and `plugins`."""
    names = [*pins(ON_CPU), *pins(ON_GPU)]
    versions = {name: version for name in names if (version := _version(name))}
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "packages": versions,
        "plugins": plugins([*site.getsitepackages(), *sys.path]),
    }


def plugins(folders: Iterable[str]) -> list[str]:
    """The libraries that TensorFlow loads by itself when it is imported.

    Args:
        folders: in which it looks for a folder `tensorflow-plugins`.
    """
    places = {Path(folder, "tensorflow-plugins") for folder in folders if "site-packages" in folder}
    return sorted({file.name for place in places for file in place.glob("*.so*")})


def judge(found: Mapping[str, Json], *, has_gpu: bool) -> list[Finding]:
    """What is wrong with a node's Python and its packages.

    Args:
        found: its `facts`.
        has_gpu: whether the node has one, and needs what goes with it.
    """
    findings = []
    python = tuple(int(part) for part in str(found["python"]).split(".")[:2])
    if not _PYTHONS[0] <= python <= _PYTHONS[1]:
        findings.append(
            fail(
                Reason.VERSION,
                f"Python {found['python']}",
                "3.11 to 3.13",
                "Make the environment anew: make PYTHON=/path/to/python3.11 demo.",
            )
        )
    for path in (ON_CPU, *([ON_GPU] if has_gpu else [])):
        findings += _beside_pins(found["packages"], path)
    return findings


def _beside_pins(installed: Mapping[str, str], path: Path) -> list[Finding]:
    pinned = pins(path)
    wrong = {name: installed.get(name) for name in pinned if installed.get(name) != pinned[name]}
    if not wrong:
        return []
    told = [f"{name} {version or 'missing'}" for name, version in wrong.items()]
    expected = [f"{name}=={pinned[name]}" for name in wrong]
    more = f", and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
    is_fatal = any(version is None and name in _NEEDED for name, version in wrong.items())
    return [
        (fail if is_fatal else warn)(
            Reason.VERSION,
            ", ".join(told[:_MOST_SHOWN]) + more,
            f"{', '.join(expected[:_MOST_SHOWN])} ({path.name})",
            f"On that node: .venv/bin/pip install -r {path.name}.",
        )
    ]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
