"""Which tests share a process where several run tests at once, as in `make test`: `pytest -n 2`.

It says in the terminal which of them begin. What a session leaves behind is swept, however it ends.
"""

import contextlib
import os
import resource
import signal
import time

import pytest

from tests.sweeper import begin_session

# What takes longest begins first, so that in the end all processes are done at about the same time.
FIRST = ("tests/jobs/test_gallery.py", "scenes", "tests/jobs/")
# All that ask for scenes: they are played once for the tests of one process.
SCENES = tuple(f"tests/jobs/test_{name}.py" for name in ("data_kinds", "parity", "scores", "wires"))
# Each of its tests starts workers of its own, and shares nothing with the others.
SINGLE = ("tests/jobs/test_bad_input.py",)

# Whose files take long enough that each is told of.
BY_FILE = ("tests/jobs/", "tests/faults/")


def group_of(test):
    """What a test shares its process with: the tests of its file, unless something else is said.

    Args:
        test: as pytest names it, `FOLDER/FILE.py::NAME`.
    """
    path = test.partition("::")[0]
    if path in SCENES:
        return "scenes"
    return test if path in SINGLE else path


def _turn(test):
    group = group_of(test)
    return next((turn for turn, start in enumerate(FIRST) if group.startswith(start)), len(FIRST))


class _Beginnings:
    """Says which tests begin, and how many are done: of jobs and faults by file, else by folder."""

    def __init__(self, plugins):
        self._plugins, self._begun, self._done, self._total = plugins, set(), 0, 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids):
        self._total = len(ids)

    def pytest_runtest_logstart(self, nodeid):
        path = nodeid.partition("::")[0]
        name = path if path.startswith(BY_FILE) else os.path.dirname(path)
        if name not in self._begun:
            self._begun.add(name)
            terminal = self._plugins.get_plugin("terminalreporter")
            terminal.write("\n")  # behind dots, of which it knows nothing
            terminal.write_line(_stamped(f"{self._done} of {self._total} done; {name}"))

    def pytest_runtest_logfinish(self):
        self._done += 1


def say(text):
    """Writes a line to the terminal, which of several processes may run the test."""
    os.write(_terminal, f"\n{_stamped(text)}\n".encode())


def _stamped(text):
    return f"{time.strftime('%H:%M:%S')} {text}"


def pytest_configure(config):
    global _terminal
    _terminal = os.dup(2)  # which is a file of pytest's own while a test runs
    if config.getoption("numprocesses", None):
        config.pluginmanager.register(_Beginnings(config.pluginmanager))
    # Who starts tests behind `nohup` or `&` has signals ignored, in the programs of tests as well.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    begin_session()


def pytest_collection_modifyitems(items):
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _turn(item.nodeid))


# pytest-xdist's own groups (3.8.0, --dist=loadgroup) are lost with pytest 9.2.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    config.option.loadscopereorder = False  # the order is ours
    return ByGroup(config, log)


@pytest.fixture
def files_of_at_most():
    """What a disk that is nearly full says, in the body of `with files_of_at_most(BYTES):`."""

    @contextlib.contextmanager
    def limited(num_bytes):
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)

    return limited


@pytest.fixture
def lasting(tmp_path_factory, monkeypatch):
    """The folder of temporary files that stay."""
    folder = tmp_path_factory.mktemp("lasting")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder
