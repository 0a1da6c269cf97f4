"""The GPUs of a machine, dealt out to the workers that see them; the driver is a fake."""

import ctypes
from types import SimpleNamespace

import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.startup import devices as claimed
from tfscale.startup.devices import Devices, take_share
from tfscale.startup.gpu_shares import Gpu, share_of_gpus, visible_gpus

pytestmark = pytest.mark.promise("gpus")

FOUR = ("a", "b", "c", "d")


def _shares(seen, *, may_share=False):
    return [share_of_gpus(seen, rank, may_share=may_share) for rank in range(len(seen))]


@pytest.mark.parametrize(
    ("seen", "shares"),
    [
        # One worker a machine, or GPUs that a launcher has dealt out, whatever it calls them.
        ([FOUR, ("e", "f", "g", "h")], [(0, 1, 2, 3)] * 2),
        ([("a", "b"), ("c", "d")], [(0, 1)] * 2),
        ([("a",), ("b",), ("c",)], [(0,)] * 3),
        # All of them shown to all workers of a machine.
        ([FOUR] * 4, [(0,), (1,), (2,), (3,)]),
        ([FOUR] * 2, [(0, 1), (2, 3)]),
        ([FOUR, ("e", "f"), FOUR, ("e", "f")], [(0, 1), (0,), (2, 3), (1,)]),
        # Shown in another order: each has other ones all the same.
        ([("a", "b"), ("b", "a")], [(0,), (0,)]),
        # Without GPUs there is nothing to deal out.
        ([(), ()], [(), ()]),
    ],
)
def test_what_several_workers_see_is_dealt_out_equally(seen, shares):
    assert _shares(seen) == shares


def test_uneven_machines_count_by_themselves():  # T30: a global rank modulo GPUs is no place
    seen = [FOUR] * 4 + [("e", "f")] * 2
    assert _shares(seen) == [(0,), (1,), (2,), (3,), (0,), (1,)]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([("a",), ("a",)], "Workers 0 and 1 see the same one GPU"),  # T15
        ([("x",), ("a",), ("a",)], "Workers 1 and 2 see the same one GPU"),
        ([FOUR] * 3, "Workers 0, 1 and 2 see the same 4 GPUs"),
        ([("a", "b")] * 3, "see the same 2 GPUs"),
        ([("a", "b"), ("b", "c")], "see some GPUs that are the same, and others that are not"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused_on_every_worker_alike(seen, words):
    reasons = set()
    for rank in range(len(seen)):
        with pytest.raises(ConfigError, match=words) as caught:
            share_of_gpus(seen, rank, may_share=False)
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def test_a_ring_may_share_a_gpu():
    assert _shares([("a",)] * 3, may_share=True) == [(0,)] * 3
    assert _shares([("a", "b")] * 3, may_share=True) == [(0,), (1,), (0,)]
    with pytest.raises(ConfigError):
        _shares([("a", "b", "c")] * 2, may_share=True)  # one would lie idle


def _driver(uuids, *, failing="", has_second=True):
    """Stands for libcuda.so.1; handles are 100 and up."""

    def done(name, work=lambda *parts: None):
        def call(*parts):
            work(*parts)
            return int(name == failing)

        return call

    def set_count(count):
        count._obj.value = len(uuids)

    def set_device(device, number):
        device._obj.value = 100 + number

    def set_uuid(buffer, device):
        buffer.raw = uuids[device.value - 100]

    def set_pci(buffer, size, device):
        buffer.value = f"0000:{device.value - 100:02X}:00.0".encode()

    names = ["cuDeviceGetUuid"] + ["cuDeviceGetUuid_v2"] * has_second
    return SimpleNamespace(
        cuInit=done("cuInit"),
        cuDeviceGetCount=done("cuDeviceGetCount", set_count),
        cuDeviceGet=done("cuDeviceGet", set_device),
        cuDeviceGetPCIBusId=done("cuDeviceGetPCIBusId", set_pci),
        **{name: done(name, set_uuid) for name in names},
    )


@pytest.mark.parametrize("has_second", [True, False])
def test_the_driver_says_which_gpus_a_process_sees(has_second):
    uuids = [bytes(range(16)), bytes(16)]
    found = visible_gpus(lambda name: _driver(uuids, has_second=has_second))
    assert found == (Gpu(uuids[0].hex(), "0000:00:00.0"), Gpu(uuids[1].hex(), "0000:01:00.0"))


@pytest.mark.parametrize("failing", ["cuInit", "cuDeviceGetCount", "cuDeviceGet"])
def test_a_driver_that_fails_shows_nothing(failing):
    assert visible_gpus(lambda name: _driver([bytes(16)], failing=failing)) == ()


def test_without_a_driver_nothing_is_seen():
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    assert visible_gpus(missing) == ()
    assert visible_gpus(lambda name: ctypes.CDLL(None)) == ()


def test_a_worker_leaves_the_others_their_gpus(monkeypatch):
    shown, near = [], []
    config = SimpleNamespace(
        get_visible_devices=lambda kind: ["gpu 0", "gpu 1", "gpu 2", "gpu 3"],
        set_visible_devices=lambda found, kind: shown.append((kind, found)),
    )
    monkeypatch.setattr(claimed.tf, "config", config)
    monkeypatch.setattr(claimed, "keep_near", near.append)
    monkeypatch.setattr(claimed, "_set_threads", lambda **how: None)
    gpus = tuple(Gpu(uuid, f"pci {uuid}") for uuid in FOUR)
    seen = Devices("GPU", 4, ("A", "B", "C", "D"), gpus)
    cluster = Cluster(("127.0.0.1:1", "127.0.0.1:2"), 1)
    own = take_share(seen, [FOUR, FOUR], cluster, may_share=False)
    assert own == Devices("GPU", 2, ("C", "D"), gpus[2:])
    assert shown == [("GPU", ["gpu 2", "gpu 3"])]
    assert near == [["pci c", "pci d"]]


def test_processors_are_not_dealt_out():
    cpus = Devices("CPU", 2, ("CPU", "CPU"))
    assert take_share(cpus, [(), ()], Cluster(("a:1", "b:1"), 0), may_share=True) is cpus
