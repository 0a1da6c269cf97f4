from types import SimpleNamespace

import pytest

from tfscale.process import cores, spare_cores
from tfscale.process.cores import limited
from tfscale.process.cpu_quota import cpu_quota


def _root(folder, groups, **files):
    """A file system with what the kernel shows of control groups."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    for path, text in files.items():
        file = folder / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


V1 = "12:memory:/a/b\n4:cpu,cpuacct:/a/b\n3:cpuset:/\n1:name=systemd:/a\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        # The least of all groups around it.
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        # The path of the host, which the container doesn't see: its own is the root.
        ("0::/kubepods/pod1\n", {"cpu.max": "400000 100000"}, 4.0),
        ("0::/../other\n", {"cpu.max": "400000 100000"}, 4.0),
        # Version 1, beside an empty version 2.
        (
            V1,
            {
                "cpu,cpuacct/a/b/cpu.cfs_quota_us": "300000\n",
                "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu/cpu.cfs_quota_us": "70000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.7),
        ("4:cpuset:/\n", {"cpu.max": "100000 100000"}, None),
        ("0::/\n", {"cpu.max": "many 100000"}, None),
        ("0::/\n", {"cpu.max": "100000 0"}, None),
        ("", {"cpu.max": "100000 100000"}, None),
    ],
)
def test_the_least_quota_of_all_groups_counts(tmp_path, groups, files, quota):
    assert cpu_quota(_root(tmp_path, groups, **files)) == quota


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("cores", "quota", "busy"),
    [(64, 8.0, 8), (64, 1.5, 2), (64, 0.5, 1), (2, 8.0, 2), (2, float("inf"), 2), (4, 4.0, 4)],
)
def test_a_quota_keeps_as_many_cores_busy_as_it_has(cores, quota, busy):
    assert limited(cores, quota) == busy


@pytest.fixture
def container(monkeypatch):
    """A container with a quota of 3 of 8 cores."""
    monkeypatch.setattr(cores, "_quota", lambda: 3.0)
    monkeypatch.setattr(cores, "_cores", lambda: range(8))
    monkeypatch.setattr(cores, "_sharing", [])


def test_workers_share_a_quota_and_are_bound_to_no_core(container):
    assert cores.num_cores() == 3
    assert cores.share_of_cores(2, 1) == set(range(8))
    assert cores.num_cores() == 2  # of 1.5


def test_what_others_in_a_container_may_use_is_not_spare(container, monkeypatch):
    times = SimpleNamespace(user=0.0, idle=0.0)
    monkeypatch.setattr(spare_cores, "_times", lambda: (times.idle, 8 * times.user))
    monkeypatch.setattr(spare_cores, "_own_cores", lambda: list(range(8)))
    monkeypatch.setattr(spare_cores, "_used", lambda: (1.5 * times.user, times.user))
    spare = spare_cores.SpareCores()
    times.user, times.idle = 10.0, 60.0
    assert spare.measure() == pytest.approx(1.5)  # of 6 idle ones
