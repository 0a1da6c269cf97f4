import pytest

from tfscale.errors import ConfigError
from tools.ssh.host_files import hosts_from, hosts_in


def _file(tmp_path, text):
    path = tmp_path / "hosts"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a slots=2\nb slots=2 max_slots=4\n", ["a", "b"]),  # Open MPI
        ("# mine\n\na   # first\n  b\n", ["a", "b"]),
        (
            "b\nb\na\na\n",
            ["b", "a"],
        ),  # PBS and LSF: a line a slot, in an order that means something
        ("a 2\nb 2\n", ["a", "b"]),
        ("a 2 all.q@a UNDEFINED\nb 2 all.q@b 0,0:0,1\n", ["a", "b"]),  # Grid Engine
        ("me@a:2300\n[fe80::1]:2300\n", ["me@a:2300", "[fe80::1]:2300"]),
        ("a\r\nb\r\n", ["a", "b"]),
    ],
)
def test_a_file_names_each_host_once_whatever_stands_behind_it(tmp_path, text, hosts):
    assert hosts_in(_file(tmp_path, text), "--hosts_file") == hosts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no host"),
        ("# nobody\n", "names no host"),
        ("a\nb c\n", "'b c' in line 2"),
        ("a, b\n", "in line 1"),
        ("a slots = 2 x y\n", "in line 1"),
    ],
)
def test_a_file_of_something_else_is_refused_by_its_line(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        hosts_in(_file(tmp_path, text), "--hosts_file")


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        hosts_in(tmp_path / "none", "--hosts_file")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="can't be read"):
        hosts_in(tmp_path / "bytes", "--hosts_file")


@pytest.mark.parametrize(
    ("scheduler", "variable"),
    [("pbs", "PBS_NODEFILE"), ("lsf", "LSB_DJOB_HOSTFILE"), ("sge", "PE_HOSTFILE")],
)
def test_a_schedulers_file_is_read_where_its_variable_says(tmp_path, scheduler, variable):
    environ = {variable: str(_file(tmp_path, "n7\nn7\nn3\n")), "LSB_HOSTS": "other"}
    assert hosts_from(scheduler, environ) == ["n7", "n3"]
    with pytest.raises(ConfigError, match=f"{variable} isn't set"):
        hosts_from(scheduler, {})
    with pytest.raises(ConfigError, match=f"{variable}=.*can't be read"):
        hosts_from(scheduler, {variable: str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("environ", "hosts"),
    [
        ({"LSB_MCPU_HOSTS": "a 4 b 4"}, ["a", "b"]),
        ({"LSB_HOSTS": "a a b b"}, ["a", "b"]),
        ({"LSB_MCPU_HOSTS": "a 1", "LSB_HOSTS": "b"}, ["a"]),
    ],
)
def test_lsf_says_its_hosts_in_variables_too(environ, hosts):
    assert hosts_from("lsf", environ) == hosts


@pytest.mark.parametrize("text", ["a", "a b", "a 4 b", "a four"])
def test_slots_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="hosts with slots"):
        hosts_from("lsf", {"LSB_MCPU_HOSTS": text})
