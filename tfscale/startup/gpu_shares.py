"""Whose the GPUs of a machine are that several workers of a job see.

Some launchers give each worker its own GPUs, others show all of them to all workers of a machine.
What each of them sees, by names that mean the same GPU in every process, tells the two apart;
`CUDA_VISIBLE_DEVICES` doesn't: in a container or a control group its numbers begin at 0 again.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tfscale.errors import ConfigError

_PCI_LETTERS = 32


@dataclass(frozen=True)
class Gpu:
    """A GPU, or the part of one that a process may use.

    Args:
        uuid: that no other GPU, and no other part of one, has.
        pci: where it is attached, such as "0000:3B:00.0"; "" where that isn't known.
    """

    uuid: str
    pci: str


def visible_gpus(library: Callable[[str], Any] = ctypes.CDLL) -> tuple[Gpu, ...]:
    """The GPUs that CUDA shows this process, in the order in which TensorFlow numbers them.

    Asked of the driver (CUDA Driver API, "Device Management"), which heeds `CUDA_VISIBLE_DEVICES`
    whether it has numbers, UUIDs or parts (MIG).

    Args:
        library: loads one by its name.

    Returns:
        None of them where there is no such driver, or it doesn't say.
    """
    try:
        cuda = library("libcuda.so.1")
        get_uuid = getattr(cuda, "cuDeviceGetUuid_v2", None) or cuda.cuDeviceGetUuid
        count, device, found = ctypes.c_int(), ctypes.c_int(), []
        if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
            return ()
        for number in range(count.value):
            uuid, pci = (ctypes.create_string_buffer(size) for size in (16, _PCI_LETTERS))
            if cuda.cuDeviceGet(ctypes.byref(device), number) or get_uuid(uuid, device):
                return ()
            has_pci = cuda.cuDeviceGetPCIBusId(pci, _PCI_LETTERS, device) == 0
            found.append(Gpu(uuid.raw.hex(), pci.value.decode("ascii") if has_pci else ""))
    except (OSError, AttributeError, UnicodeDecodeError):
        return ()
    return tuple(found)


def share_of_gpus(seen: Sequence[Sequence[str]], rank: int, *, may_share: bool) -> tuple[int, ...]:
    """Which of the GPUs that a worker sees are its own.

    Args:
        seen: the UUIDs of what each worker of the job sees, in the order of the ranks.
        rank: of the worker.
        may_share: whether several may compute on one GPU, as they can where no NCCL connects them.

    Returns:
        Places in what this worker sees: all where nobody else sees them, else an equal part.

    Raises:
        ConfigError: they can't be dealt out, on every worker alike.
    """
    shares: dict[int, tuple[int, ...]] = {}
    for one, theirs in enumerate(seen):
        group = [other for other, others in enumerate(seen) if set(others) & set(theirs)]
        if len(group) < 2:
            shares[one] = tuple(range(len(theirs)))
            continue
        if any(set(seen[other]) != set(theirs) for other in group):
            raise _refusal(group, "see some GPUs that are the same, and others that are not")
        each, rest = divmod(len(theirs), len(group))
        place = group.index(one)
        if not rest:
            part = seen[group[0]][place * each : (place + 1) * each]
            shares[one] = tuple(at for at, uuid in enumerate(theirs) if uuid in part)
        elif may_share and not each:
            shares[one] = (place % len(theirs),)
        else:
            gpus = f"{len(theirs)} GPUs" if len(theirs) > 1 else "one GPU"
            raise _refusal(group, f"see the same {gpus}, which can't be dealt out to them equally")
    return shares[rank]


def _refusal(ranks: Sequence[int], what: str) -> ConfigError:
    who = f"{', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
    return ConfigError(
        f"Workers {who} {what}; expected GPUs of its own for each, or as many as there are workers "
        "on their machine, or a multiple of that. Start as many workers on a machine as it has "
        "GPUs, or one with all of them; or let the launcher give each its own (srun "
        "--gpus-per-task=1). Where several are to share one: --collectives=ring."
    )
