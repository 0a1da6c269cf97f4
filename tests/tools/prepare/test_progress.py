import itertools

from tfscale.process.terminal import Terminal
from tools.prepare.progress import progress


def test_lines_come_every_ten_seconds_with_the_speed_of_this_run():
    shown = []
    clock = itertools.count(0, 4).__next__  # each look at the clock is four seconds later
    with progress(Terminal(shown.append, progress=True), "train", clock=clock) as tell:
        for done in (100, 200, 300, 400):
            tell(done, 1000)
    assert shown[0] == "train: 200 of 1,000 records, 12 examples/s"
    assert len(shown) == 2


def test_a_silent_terminal_is_told_nothing():
    shown = []
    clock = itertools.count(0, 60).__next__
    with progress(Terminal(shown.append), "train", clock=clock) as tell:
        tell(1, 2)
    assert shown == []


def test_a_terminal_with_a_reader_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("tfscale.process.terminal._is_terminal", lambda: True)
    with progress(Terminal(progress=True), "train") as tell:
        tell(1000, 1000)
    shown = capsys.readouterr().out
    assert "train" in shown
    assert "1000/1000" in shown
