import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tfscale.process.terminal import Terminal


@pytest.fixture(autouse=True)
def _temporary_logs_here(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


def _temporary_logs(tmp_path):
    return [path.read_text() for path in (tmp_path / "temporary").iterdir()]


def test_a_terminal_says_nothing_unless_it_is_told_how(capfd):
    Terminal().show("hello")
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_with_what_it_was_given():
    shown = []
    Terminal(shown.append).show("hello")
    assert shown == ["hello"]


@pytest.mark.parametrize(
    ("progress", "is_terminal", "verbosity", "wants_lines"),
    [
        (False, True, 0, False),
        (False, False, 0, False),
        (True, True, 1, False),
        (True, False, 0, True),
    ],
)
def test_progress_is_a_bar_on_a_terminal_and_lines_in_a_file(
    monkeypatch, progress, is_terminal, verbosity, wants_lines
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    terminal = Terminal(progress=progress)
    assert (terminal.verbosity, terminal.wants_lines) == (verbosity, wants_lines)


class _NotebooksOutput:
    """What some notebooks put in the place of the standard output."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


@pytest.mark.parametrize("output", [None, _NotebooksOutput(), io.StringIO()])
def test_an_output_that_is_hardly_one_gets_lines_and_no_error(monkeypatch, output):
    monkeypatch.setattr(sys, "stdout", output)
    terminal = Terminal(print, progress=True)
    assert (terminal.verbosity, terminal.wants_lines) == (0, True)
    terminal.show("hello")


def test_what_is_shown_does_not_wait_in_a_buffer(monkeypatch, tmp_path):
    path = tmp_path / "nohup.out"
    with path.open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        Terminal(print).show("the plan")
        assert path.read_text() == "the plan\n"


def test_a_reader_who_is_gone_ends_no_training(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    output = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", output)
    Terminal(print).show("the plan")
    with contextlib.suppress(BrokenPipeError):
        output.close()


def test_a_silenced_terminal_shows_nothing_and_still_complains(capfd):
    shown = []
    terminal = Terminal(shown.append, progress=True).silenced()
    terminal.show("hello")
    terminal.complain("worker 1 is missing")
    assert shown == []
    assert (terminal.verbosity, terminal.wants_lines) == (0, False)
    assert capfd.readouterr().err == "worker 1 is missing\n"


def test_what_is_written_to_the_file_descriptor_goes_to_the_log(capfd):
    terminal = Terminal()
    with terminal.captured():
        os.write(2, b"from C++\n")
        log = terminal.log_path
    assert log.read_text() == "from C++\n"
    assert capfd.readouterr().err == ""


def test_a_complaint_reaches_the_reader_while_the_rest_goes_to_the_log(capfd):
    terminal = Terminal()
    with terminal.captured():
        os.write(2, b"noise\n")
        terminal.complain("worker 1 is missing")
    assert capfd.readouterr().err == "worker 1 is missing\n"
    assert terminal.log_path.read_text() == "noise\n"


def test_the_standard_error_comes_back_after_an_error_too(capfd):
    terminal = Terminal()
    with pytest.raises(ValueError, match="wrong"), terminal.captured():
        raise ValueError("wrong")
    os.write(2, b"after\n")
    terminal.complain("and this")
    assert capfd.readouterr().err == "after\nand this\n"


def test_no_file_descriptor_stays_open(capfd):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    with Terminal().captured():
        pass
    assert descriptors() == before


def test_the_log_moves_to_the_run_directory_with_what_was_written_before(tmp_path, capfd):
    terminal = Terminal()
    path = tmp_path / "run" / "logs" / "worker-0.log"
    with terminal.captured():
        os.write(2, b"before\n")
        terminal.file_log(path)
        os.write(2, b"after\n")
    assert path.read_text() == "before\nafter\n"
    assert terminal.log_path == path
    assert _temporary_logs(tmp_path) == []


def test_the_log_of_an_earlier_run_is_kept_above_the_new_one(tmp_path, capfd):
    path = tmp_path / "worker-0.log"
    path.write_text("earlier\n")
    terminal = Terminal()
    with terminal.captured():
        os.write(2, b"now\n")
        terminal.file_log(path)
    assert path.read_text() == "earlier\nnow\n"


def test_a_log_that_cannot_be_had_is_no_reason_to_end_a_run(tmp_path, capfd):
    (tmp_path / "file").write_text("")
    terminal = Terminal()
    with terminal.captured():
        os.write(2, b"before\n")
        terminal.file_log(tmp_path / "file" / "logs" / "worker-0.log")
        os.write(2, b"after\n")
        log = terminal.log_path
    assert _temporary_logs(tmp_path) == ["before\nafter\n"]
    assert f"The log stays in {log}" in capfd.readouterr().err


def test_without_a_captured_standard_error_there_is_no_log(tmp_path):
    Terminal().file_log(tmp_path / "logs" / "worker-0.log")
    assert not (tmp_path / "logs").exists()


def test_a_complaint_with_characters_that_cannot_be_encoded_is_still_said(capfd):
    Terminal().complain("no folder \udcff here")
    assert capfd.readouterr().err == "no folder ? here\n"


def test_what_a_terminal_would_obey_is_written_out(capfd):
    shown = []
    Terminal(shown.append).show("\x1b[2Ja\nb")
    Terminal().complain("\x1b]0;title\x07")
    assert shown == ["\\x1b[2Ja\nb"]
    assert capfd.readouterr().err == "\\x1b]0;title\\x07\n"


def test_a_log_whose_folder_was_removed_ends_nothing_and_is_written_anew(tmp_path, capfd):
    terminal = Terminal()
    path = tmp_path / "run" / "logs" / "worker-0.log"
    with terminal.captured():
        os.write(2, b"before\n")
        terminal.file_log(path)
        shutil.rmtree(tmp_path / "run")
        sys.stderr.write("after\n")
        log = terminal.kept_log()
        assert log.read_text() == "before\nafter\n"
    assert log.parent == tmp_path / "temporary"
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_under_the_log_is_not_known_to_whoever_writes_to_it(capfd):
    terminal = Terminal()
    with terminal.captured():
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, 2)
        os.close(full)
        sys.stderr.write("lost\n")
        sys.stderr.flush()
        with pytest.raises(OSError, match="No space"):
            os.write(2, b"the disk is full")
    sys.stderr.write("after\n")
    assert capfd.readouterr().err == "after\n"


def test_what_a_process_that_was_started_before_writes_later_is_in_the_log(tmp_path):
    terminal, path = Terminal(), tmp_path / "run" / "logs" / "worker-0.log"
    source = "import sys; sys.stdin.read(); sys.stderr.write('of the process\\n')"
    with terminal.captured():
        with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE) as process:
            terminal.file_log(path)
            sys.stderr.write("of the worker\n")
            process.communicate(timeout=60)
        assert terminal.kept_log() == path
        assert path.read_text() == "of the worker\nof the process\n"
    assert path.read_text() == "of the worker\nof the process\n"
