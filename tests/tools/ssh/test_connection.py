import re
import shlex
import subprocess

import pytest

from tfscale.errors import CONFIG_CODE, Kind
from tools.ssh.connection import Client, end_without_meeting, in_folder


def test_a_host_is_never_an_option_and_a_users_option_comes_first():
    words = Client("/my/config", ("Port=2200", "ConnectTimeout=1")).words("-host", "true")
    assert words[-3:] == ["--", "-host", "true"]
    assert words[:3] == ["ssh", "-F", "/my/config"]
    assert words.index("ConnectTimeout=1") < words.index("ConnectTimeout=10")
    assert words[4] == "BatchMode=yes", "nobody may be asked, whatever a user says"
    assert not [word for word in words if "StrictHostKeyChecking" in word]


ODD = ["it's", 'a "b"', "$HOME", "`id`", "a;b|c&d>e", "*", "~", "!x", "", "a\nb", "-x", "ü\\"]


def test_a_shell_takes_all_words_literally(tmp_path):
    folder = tmp_path / "it's $HOME; *"
    folder.mkdir()
    command = in_folder(str(folder), ["printf", "%s\\0", *ODD])
    said = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=10)
    assert said.stdout.decode().split("\0")[:-1] == ODD
    said = subprocess.check_output(["sh", "-c", in_folder(str(folder), ["pwd"])], timeout=10)
    assert said.decode() == f"{folder}\n"


@pytest.mark.parametrize("folder", ["tfscale", "~/tfscale", "-tfscale", "~"])
def test_a_folder_that_is_no_whole_path_is_in_the_home(tmp_path, folder):
    (tmp_path / folder.removeprefix("~/")).mkdir(exist_ok=True)
    said = subprocess.check_output(["sh", "-c", in_folder(folder, ["pwd"])], cwd=tmp_path)
    assert said.decode().strip() == f"{tmp_path}/{folder.removeprefix('~/')}"


# As OpenSSH 9.2 says it; tests/jobs/test_ssh.py has it from a real one where it can.
@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Host key verification failed.", "isn't known; .* ssh me@a true .*ssh-keyscan a"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "isn't the one that is known; .*ssh-keygen -R a",
        ),
        ("me@a: Permission denied (publickey).", "doesn't let this user in.*ssh-copy-id me@a"),
        ("ssh: Could not resolve hostname a: Name or service not known", "name is unknown"),
        ("command-line: line 0: Bad configuration option: x", "ssh refuses its options"),
        ("Can't open user config file x: No such file", "ssh refuses its options"),
        ("Unable to negotiate with 10.0.0.1 port 22: no matching cipher found.", "no cipher"),
    ],
)
def test_what_trying_again_cannot_help_is_refused_with_what_to_do(said, words):
    end = end_without_meeting("me@a", 255, said.splitlines())
    assert end.code == CONFIG_CODE
    assert said.splitlines()[-1] in end.reason
    assert re.search(words, end.reason), end.reason


@pytest.mark.parametrize(
    "said",
    [
        "ssh: connect to host a port 22: Connection refused",
        "ssh: connect to host a port 22: No route to host",
        "ssh: connect to host a port 22: Connection timed out",
        "ssh: Could not resolve hostname a: Temporary failure in name resolution",
        "kex_exchange_identification: Connection closed by remote host",
        "",
    ],
)
def test_what_may_go_better_later_is_a_worker_that_has_not_come(said):
    end = end_without_meeting("a", 255, said.splitlines())
    assert end.kind is Kind.START_TIMEOUT
    assert (said or "without a word") in end.reason


def test_a_node_without_the_repository_is_refused_with_the_flags_for_it():
    end = end_without_meeting("a", 127, ["sh: 1: exec: .venv/bin/python: not found"])
    assert end.code == CONFIG_CODE
    assert "exit code 127: sh: 1: exec: .venv/bin/python: not found" in end.reason
    assert "--copy" in end.reason


def test_a_target_in_a_command_to_type_is_one_word():
    end = end_without_meeting("a b@c", 255, ["Host key verification failed."])
    assert f"ssh {shlex.quote('a b@c')} true" in end.reason
