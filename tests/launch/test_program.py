"""The shell of the programs: with programs that are made up, and at the door of the real ones."""

import os
import signal
import subprocess
import sys

import pytest

from tests.jobs.workers import ROOT, start_all
from tfscale.errors import End, Kind
from tfscale.startup.environment import END_RECORD

DEADLINE_SECONDS = 60
PROGRAMS = (
    *("worker", "local", "bench", "compare", "profile_model"),
    *("inspect_data", "prepare"),
)
BEGINNING = """
import os, sys
from absl import flags
import tfscale
from launch import program
from tfscale.errors import Kind, SharedFailure, WorkerError

flags.DEFINE_integer("number", 0, "")
flags.DEFINE_bool("talks", False, "")


def main(terminal, *words):
"""


def _run(folder, body, *words, before="", **options):
    """Runs a program whose main function has this body; its temporary files go to the folder."""
    shell = ", ".join(f"{name}={value}" for name, value in options.items())
    source = BEGINNING + "\n".join(f"    {line}" for line in body.splitlines())
    source += f"\n\n{before}\nprogram.run(main{', ' + shell if shell else ''})\n"
    (ended,) = start_all(
        [[sys.executable, "-c", source, *words]],
        deadline_seconds=DEADLINE_SECONDS,
        environ={"TMPDIR": str(folder), END_RECORD: str(_record(folder))},
    )
    return ended


def _record(folder):
    """Where a program that `_run` has started says how it ended: not among its temporary files."""
    return folder.with_name(f"{folder.name}.end.json")


def _recorded(folder):
    return End.of_text(_record(folder).read_text())


@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("return 0", 0), ("return 7", 7)])
def test_a_program_ends_with_the_code_that_it_gives(tmp_path, body, code):
    ended = _run(tmp_path, f"terminal.show('shown')\n{body}")
    assert (ended.code, ended.out, ended.err) == (code, "shown\n", "")
    assert not list(tmp_path.iterdir())
    assert not _record(tmp_path).exists(), "there is no more to say"


_FAREWELLS = """
import atexit, threading, time
atexit.register(lambda: print("farewell", flush=True))
threading.Thread(target=lambda: (time.sleep(0.5), print("uploaded", flush=True))).start()
"""


def test_a_program_that_is_done_waits_for_threads_and_says_farewell(tmp_path):
    ended = _run(tmp_path, _FAREWELLS)
    assert (ended.code, ended.out, ended.err) == (0, "uploaded\nfarewell\n", "")
    assert not list(tmp_path.iterdir())


def test_a_program_that_fails_ends_at_once(tmp_path):
    ended = _run(tmp_path, f"{_FAREWELLS}\nreturn 7")
    assert (ended.code, ended.out) == (7, "")


@pytest.mark.parametrize(
    ("hangs", "what"),
    [
        (
            "threading.Thread(target=threading.Event().wait, name='upload').start()",
            "threads upload",
        ),
        ("atexit.register(threading.Event().wait)", "what was registered with atexit"),
    ],
)
def test_what_hangs_at_the_end_is_named_and_cut_off(tmp_path, hangs, what):
    limit = "import tfscale.process.exit\ntfscale.process.exit._EXIT_SECONDS = 0.5"
    ended = _run(tmp_path, f"import atexit, threading\n{limit}\n{hangs}")
    assert ended.code == 0
    assert what in ended.err and "went on for 0.5 s more and is cut off" in ended.err


def test_what_is_shown_is_there_at_once_also_in_a_pipe(tmp_path):
    ended = _run(tmp_path, f"terminal.show('plan')\nos.kill(os.getpid(), {int(signal.SIGKILL)})")
    assert (ended.code, ended.out) == (-signal.SIGKILL, "plan\n")


def test_letters_that_the_output_does_not_have_do_not_end_a_program(tmp_path):
    body = "terminal.show('\u6f22 Gr\u00fc\u00dfe')"
    ended = _run(tmp_path, body, before="sys.stdout.reconfigure(encoding='ascii')")
    assert (ended.code, ended.out, ended.err) == (0, "? Gr??e\n", "")


def test_a_program_without_an_output_ends_with_its_code(tmp_path):
    ended = _run(tmp_path, "terminal.show('plan')\nreturn 7", before="sys.stdout = None")
    assert (ended.code, ended.err) == (7, "")


def test_flags_are_read_and_messages_are_kept_from_the_terminal(tmp_path):
    body = "os.write(2, b'noise')\nprint(flags.FLAGS.number)"
    ended = _run(tmp_path, body, "--number=3")
    assert (ended.code, ended.out, ended.err) == (0, "3\n", "")


def test_messages_stay_in_the_terminal_of_whoever_asks_for_them(tmp_path):
    verbose = {"is_verbose": "lambda: flags.FLAGS.talks"}
    ended = _run(tmp_path, "os.write(2, b'noise')", "--talks", **verbose)
    assert (ended.code, ended.err) == (0, "noise")
    ended = _run(tmp_path, "os.write(2, b'noise')", **verbose)
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("ValueError('a\\nb')", 1, "ValueError: a b"),
        ("SharedFailure('worker 1 is out of memory', 75)", 75, "worker 1 is out of memory"),
        (
            "WorkerError('stock, worker 0 ended', 'x\\nno room')",
            1,
            "stock, worker 0 ended: no room",
        ),
    ],
)
def test_a_failure_is_one_line_that_says_where_more_is(tmp_path, error, code, line):
    ended = _run(tmp_path, f"os.write(2, b'noise')\nraise {error}")
    assert (ended.code, ended.out) == (code, "")
    (log,) = tmp_path.iterdir()
    assert ended.err == f"{line} (more in {log})\n"
    assert _recorded(tmp_path) == End.of(code, line)
    assert log.read_text().startswith("noiseTraceback")


def test_what_has_to_be_changed_is_one_line_and_leaves_no_log(tmp_path):
    ended = _run(tmp_path, "raise tfscale.ConfigError('--number=0; expected 1.')")
    assert (ended.code, ended.err) == (2, "--number=0; expected 1.\n")
    assert not list(tmp_path.iterdir())
    assert _recorded(tmp_path) == End.of(2, "--number=0; expected 1.")


def test_kind_and_step_of_an_end_are_recorded_for_who_has_started_the_program_alone(tmp_path):
    body = f"assert {END_RECORD!r} not in os.environ\n"
    ended = _run(tmp_path, body + "raise SharedFailure('it is nan', 1, Kind.NOT_FINITE, 37)")
    assert ended.code == 1
    assert _recorded(tmp_path) == End("it is nan", 1, Kind.NOT_FINITE, 37)


def test_a_failure_of_a_verbose_program_names_no_log(tmp_path):
    ended = _run(tmp_path, "raise ValueError('a')", is_verbose="lambda: True")
    assert ended.code == 1
    assert ended.err.startswith("Traceback")
    assert ended.err.endswith("\nValueError: a\n")


def test_a_failure_of_a_launcher_is_one_line(tmp_path):
    ended = _run(tmp_path, "raise OSError('no room')", is_launcher="lambda: True")
    assert (ended.code, ended.err) == (1, "OSError: no room\n")


def test_a_temporary_folder_that_is_not_there_is_one_line(tmp_path):
    source = "import tempfile; tempfile.tempdir = '/nowhere'\n"
    ended = _run(tmp_path, "pass", parse=f"(exec({source!r}), flags.FLAGS)[1]")
    assert ended.code == 1
    assert "/nowhere" in ended.err
    assert ended.err.count("\n") == 1


def test_a_launcher_gets_its_words_and_shares_its_terminal(tmp_path):
    ended = _run(
        tmp_path, "os.write(2, str(words).encode())", "a", "--", "--b", is_launcher="lambda: True"
    )
    assert (ended.code, ended.err) == (0, "('a', '--b')")


def test_ctrl_c_is_one_line_with_the_code_of_a_shell(tmp_path):
    ended = _run(
        tmp_path, f"os.kill(os.getpid(), {int(signal.SIGINT)})\nimport time\ntime.sleep(9)"
    )
    assert (ended.code, ended.err) == (130, "Ended by Ctrl-C.\n")
    assert _recorded(tmp_path) == End.of(130, "Ended by Ctrl-C.")
    assert not list(tmp_path.iterdir())


def _started(how, *words):
    """A real program, by its path or as a module, from the repository's root."""
    return subprocess.run(
        [sys.executable, *how, *words],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("how", ["path", "module"])
def test_every_program_refuses_in_one_line_a_flag_that_it_does_not_have(program, how):
    words = [f"launch/{program}.py"] if how == "path" else ["-m", f"launch.{program}"]
    done = _started(words, "--nothing=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Unknown command line flag 'nothing' (see --help)\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_refuses_in_one_line_what_is_no_flag(program):
    # The launcher hands its words on; its only worker has the terminal to itself, and refuses.
    words = ["--workers=1"] if program == "local" else []
    done = _started([f"launch/{program}.py"], *words, "epochs=3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "'epochs=3' is no flag; expected --name=value only. See --help.\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_shows_its_help_and_ends_well(program):
    done = _started([f"launch/{program}.py"], "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--" in done.stdout


@pytest.mark.parametrize("flag", ["--dataset=a.py", "--epochs=3", "--nooverwrite", "--dry_run"])
def test_the_launcher_says_where_flags_of_the_workers_stand(flag):
    done = _started(["launch/local.py"], "--workers=2", flag)
    assert (done.returncode, done.stdout) == (2, "")
    name = flag.partition("=")[0]
    assert done.stderr.startswith(f"{name} is a flag of the workers; expected it behind --.")
