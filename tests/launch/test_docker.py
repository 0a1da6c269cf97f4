"""What launch/docker/Dockerfile makes, read off its instructions: no image is built here."""

import json
import re
import shlex

import pytest

from tests.jobs.workers import ROOT
from tests.launch.kubernetes.manifests import pods_of

TEXT = (ROOT / "launch" / "docker" / "Dockerfile").read_text()


def _instructions():
    """Each instruction with its words, comments left out and long lines joined."""
    lines = [line for line in TEXT.splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


INSTRUCTIONS = list(_instructions())


def _all(name):
    return [rest for found, rest in INSTRUCTIONS if found == name]


def _copied():
    return [source for rest in _all("COPY") for source in shlex.split(rest)[:-1]]


def test_an_image_is_made_of_known_instructions_and_one_base_of_a_fixed_version():
    known = {"FROM", "RUN", "WORKDIR", "ARG", "COPY", "ENV", "USER", "ENTRYPOINT"}
    assert {name for name, _ in INSTRUCTIONS} <= known
    (base,) = _all("FROM")
    assert re.fullmatch(r"python:3\.12\.\d+-slim-\w+", base)


def test_it_runs_as_the_user_of_the_manifests_who_is_not_root():
    (user,) = _all("USER")
    last = [name for name, _ in INSTRUCTIONS if name in ("RUN", "COPY", "USER")][-1]
    assert last == "USER", "what comes after it would belong to that user"
    pod = pods_of("indexed-job.yaml")[0].spec["securityContext"]
    assert user == f"{pod['runAsUser']}:{pod['runAsGroup']}"
    assert pod["runAsUser"] > 0


def test_it_starts_a_worker_whose_flags_are_the_arguments_below_who_hears_signals():
    (entry,) = _all("ENTRYPOINT")
    words = json.loads(entry)  # no shell, which would keep a signal for itself
    assert words == ["tini", "--", "python", "launch/worker.py"]
    assert "tini" in _all("RUN")[0]
    assert all("command" not in pod.container for pod in pods_of("jobset.yaml"))


def test_another_line_of_code_installs_nothing_again():
    order = [f"{name} {rest}" for name, rest in INSTRUCTIONS]
    install = next(at for at, line in enumerate(order) if line.startswith("RUN pip install"))
    before = [line for line in order[:install] if line.startswith("COPY")]
    assert before == ["COPY requirements.txt requirements-gpu.txt ./"]
    assert "ARG REQUIREMENTS=requirements.txt" in order[:install]
    assert "--no-cache-dir" in order[install]
    assert '"$REQUIREMENTS"' in order[install]


@pytest.mark.parametrize("requirements", ["requirements.txt", "requirements-gpu.txt"])
def test_both_kinds_of_packages_are_copied_with_all_that_they_name(requirements):
    named = re.findall(r"^-r (\S+)", (ROOT / requirements).read_text(), re.MULTILINE)
    assert {requirements, *named} <= set(_copied())


def test_an_image_has_the_program_and_nothing_that_lies_about():
    assert all((ROOT / source).exists() for source in _copied())
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "what isn't named below stays out: .git, .venv, runs, secrets"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert let_in == {source.rstrip("/") for source in _copied()}
    assert not re.search(r"token|secret|password|credential", TEXT, re.IGNORECASE)
