import os
import subprocess

import pytest

from tests.tools.ssh.fake_ssh import CLIENT, fake_ssh  # noqa: F401
from tfscale.errors import ConfigError
from tools.ssh.copying import copy_tree, files_of


@pytest.fixture
def tree(tmp_path):
    source = tmp_path / "source"
    for name in (".gitignore", "a.py", "in/b c.py", "in/new.py", ".venv/x", "runs/y", "gone.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / ".gitignore").write_text("*.ignored\n")
    (source / "data.ignored").write_text("large")
    (source / "a.py").chmod(0o750)
    (source / "link").symlink_to("a.py")
    (source / "links").symlink_to("in")
    return source


def _git(source, *words):
    environ = {"PATH": os.environ["PATH"], "HOME": str(source), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "-c", "init.defaultBranch=main", *words], cwd=source, env=environ)


NAMES = [".gitignore", "a.py", "in/b c.py", "in/new.py", "link", "links"]


def test_a_tree_is_what_git_knows_and_does_not_ignore(tree):
    _git(tree, "init", "-q")
    _git(tree, "add", "a.py", "gone.py", ".gitignore")
    (tree / "gone.py").unlink()
    assert files_of(tree) == NAMES


def test_without_git_it_is_all_but_packages_and_runs(tree):
    assert files_of(tree) == sorted([*NAMES, "data.ignored", "gone.py"])


def test_a_tree_is_copied_to_each_node_and_what_else_is_there_stays(tree, tmp_path, fake_ssh):  # noqa: F811
    there, said = tmp_path / "it's there", []
    (there / ".venv").mkdir(parents=True)
    (there / "a.py").write_text("old")
    copy_tree(tree, str(there), ["n0", "n1"], CLIENT, said.append)
    assert (there / "a.py").read_text() == "a.py"
    assert (there / "a.py").stat().st_mode & 0o777 == 0o750
    assert os.readlink(there / "link") == "a.py"
    assert (there / ".venv").is_dir()
    assert not (there / "runs").exists()
    assert [line.rpartition(" to ")[2] for line in said] == [f"n0:{there}", f"n1:{there}"]


def test_a_node_that_has_no_room_is_named_with_what_it_said(tree, tmp_path, fake_ssh):  # noqa: F811
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="n0 has failed: mkdir: .*Not a directory"):
        copy_tree(tree, str(tmp_path / "file" / "x"), ["n0"], CLIENT, print)
