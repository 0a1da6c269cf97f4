"""The packages: each is pinned once, to one version, whatever file it stands in.

Whether those versions fit together is asked of the index, by `make resolve`.
"""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def _lines(path):
    """Every requirement that is installed with a file, and where it stands."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text.startswith("-r"):
            yield from _lines(path.parent / text.removeprefix("-r").strip())
        elif text:
            yield f"{path.name}:{number}", text


def _pinned(text):
    """Name, extras and version of a line that gives one version; None of another."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    asked = list(requirement.specifier)
    if [one.operator for one in asked] != ["=="] or asked[0].version.endswith("*"):
        return None
    extras = tuple(sorted(requirement.extras))
    return canonicalize_name(requirement.name), extras, asked[0].version


def _faults(folder):
    """What is wrong with the requirement files of a folder, and with its pyproject.toml."""
    faults, versions = [], {}
    # One .venv is given several of them, so that all have to agree.
    for path in sorted(folder.glob("requirements*.txt")):
        places = {}
        for place, text in _lines(path):
            pinned = _pinned(text)
            if pinned is None:
                faults.append(f"{place}: {text} gives no version by ==")
                continue
            name, extras, version = pinned
            if (name, extras) in places:
                faults.append(f"{place}: {name} stands in {places[name, extras]} already")
            places[name, extras] = place
            first, other = versions.setdefault(name, (place, version))
            if other != version:
                faults.append(f"{place}: {name} is {version}, and {other} in {first}")
    return sorted(set(faults) | set(_faults_of_project(folder)))


def _faults_of_project(folder):
    pinned = filter(None, (_pinned(text) for _, text in _lines(folder / "requirements.txt")))
    versions = {name: version for name, _, version in pinned}
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for text in sum(project["optional-dependencies"].values(), project["dependencies"]):
        requirement = Requirement(text)
        version = versions.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"pyproject.toml: {text} has no pin in requirements.txt"
        elif not requirement.specifier.contains(version):
            yield f"pyproject.toml: {text} is {version} in requirements.txt"


def test_every_package_has_one_version_that_is_written_once():
    assert not _faults(ROOT)


# The rules are only as good as what they see.
FILES = {
    "requirements.txt": "# What runs.\nkeras==3.1  # the library\n\nPillow==13.0\n",
    "requirements-dev.txt": "-r requirements.txt\nruff==0.17\n",
    "requirements-gpu.txt": "-r requirements.txt\nkeras[cuda]==3.1\n",
    "pyproject.toml": """
        [project]
        dependencies = ["keras==3.1"]
        [project.optional-dependencies]
        data = ["pillow"]
    """,
}
TWICE = "requirements.txt:5: pillow stands in requirements.txt:4 already"


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("requirements.txt", "six>=1.17", "requirements.txt:5: six>=1.17 gives no version by =="),
        ("requirements.txt", "six", "requirements.txt:5: six gives no version by =="),
        ("requirements.txt", "six==1.*", "requirements.txt:5: six==1.* gives no version by =="),
        ("requirements.txt", "six==1,<2", "requirements.txt:5: six==1,<2 gives no version by =="),
        ("requirements.txt", "--pre", "requirements.txt:5: --pre gives no version by =="),
        ("requirements.txt", "pillow==13.0", TWICE),
        (
            "requirements-dev.txt",
            "pillow==13.0",
            "requirements-dev.txt:3: pillow stands in requirements.txt:4 already",
        ),
        (
            "requirements-gpu.txt",
            "ruff==0.1",
            "requirements-gpu.txt:3: ruff is 0.1, and 0.17 in requirements-dev.txt:2",
        ),
        (
            "requirements-new.txt",
            "keras[cuda]==3.0",
            "requirements-new.txt:1: keras is 3.0, and 3.1 in requirements.txt:2",
        ),
        ("requirements-gpu.txt", "ruff==0.17", None),  # the same in two files that meet nowhere
        ("requirements.txt", "six==1.17; python_version < '3.12'", None),
    ],
)
def test_a_line_that_breaks_a_rule_is_named(tmp_path, file, line, fault):
    written = {**FILES, file: FILES.get(file, "") + line + "\n"}
    assert _faults_of(tmp_path, written) == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("keras==3.0", "pyproject.toml: keras==3.0 is 3.1 in requirements.txt"),
        ("keras>=4", "pyproject.toml: keras>=4 is 3.1 in requirements.txt"),
        ("ruff", "pyproject.toml: ruff has no pin in requirements.txt"),
        ("keras<4", None),
    ],
)
def test_what_the_library_asks_for_is_what_is_pinned(tmp_path, line, fault):
    text = FILES["pyproject.toml"]
    for was in ('"keras==3.1"', '"pillow"'):
        written = {**FILES, "pyproject.toml": text.replace(was, f'"{line}"')}
        assert _faults_of(tmp_path, written) == ([fault] if fault else [])


def _faults_of(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)
    return _faults(folder)
