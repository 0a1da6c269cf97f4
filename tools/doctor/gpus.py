"""GPUs as the driver sees them and as TensorFlow does, which takes the CPU without a word."""

from collections.abc import Mapping
from pathlib import Path

from tfscale.errors import ConfigError
from tfscale.startup.gpu_libraries import require_driven
from tfscale.structures import Json
from tools.doctor.findings import Finding, Reason, fail, refused, warn
from tools.doctor.time_limits import Status, ask

_SECONDS = 8.0  # in which a driver with many GPUs has answered
_FIELDS = ("name", "driver_version", "compute_cap", "memory.total")
_INSTALL = "On that node: .venv/bin/pip install -r requirements-gpu.txt"


def facts(environ: Mapping[str, str], root: Path = Path("/")) -> dict[str, Json]:
    """What the driver says: `driver` (what became of the question), `cards`, `visible`.

    Args:
        environ: of this process.
        root: of the file system, where the kernel's part of the driver lists its GPUs.
    """
    query = ["nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader"]
    answer = ask(query, _SECONDS, environ)
    cards = [line.strip() for line in answer.text.splitlines() if line.count(",") == 3]
    return {
        "driver": answer.status.value,
        "driver_said": "" if cards else answer.text.strip()[:200],
        "cards": cards if answer.status is Status.DONE else [],
        "cards_of_kernel": len(list((root / "proc/driver/nvidia/gpus").glob("*"))),
        "visible": environ.get("CUDA_VISIBLE_DEVICES"),  # None: all
    }


def has_gpu(found: Mapping[str, Json]) -> bool:
    """Whether the machine has one, as the driver or its kernel module says."""
    return bool(found["cards"] or found["cards_of_kernel"])


def judge(found: Mapping[str, Json], seen: Mapping[str, Json], asked: int) -> list[Finding]:
    """What is wrong with a node's GPUs.

    Args:
        found: its `facts`.
        seen: what TensorFlow sees, as of `tensorflow_child`; empty where it hasn't answered.
        asked: how many GPUs the node should have.
    """
    findings = _of_driver(found, asked)
    gpus = seen.get("gpus", [])
    try:
        pairs = [(gpu["name"], tuple(gpu["capability"] or ()) or None) for gpu in gpus]
        require_driven(pairs, tuple(seen.get("cudnn") or ()) or None)
    except ConfigError as error:
        findings.append(refused(Reason.CUDNN, error))
    if not seen or len(gpus) >= max(asked, 1):
        return findings
    if has_gpu(found) and not gpus:
        findings.append(_unused(found, seen))
    elif len(gpus) < asked:
        findings.append(_too_few(found, len(gpus), asked))
    return findings


def _of_driver(found: Mapping[str, Json], asked: int) -> list[Finding]:
    if found["driver"] == Status.HANGS:
        return [
            fail(
                Reason.DRIVER,
                f"nvidia-smi has not answered within {_SECONDS:g} s and was killed",
                "an answer",
                "Look at dmesg for Xid errors; reset or reboot the node, because whatever uses its "
                "GPUs will hang too.",
            )
        ]
    if found["driver"] == Status.FAILED and (asked or found["cards_of_kernel"]):
        return [
            fail(
                Reason.DRIVER,
                f"nvidia-smi failed: {found['driver_said'] or 'without a word'}",
                "the list of GPUs",
                "Load or install the NVIDIA driver (12.5 or newer of CUDA); in a container, start "
                "it with the GPUs (--gpus all, or nvidia.com/gpu in the manifest).",
            )
        ]
    return []


def _unused(found: Mapping[str, Json], seen: Mapping[str, Json]) -> Finding:
    number = max(len(found["cards"]), found["cards_of_kernel"])
    if found["visible"] is not None and found["visible"].strip() in ("", "-1", "NoDevFiles"):
        return warn(
            Reason.GPU_UNUSED,
            f"CUDA_VISIBLE_DEVICES={found['visible']!r} hides the {number} GPUs of this node, and "
            "training would use the CPU",
            "the numbers of GPUs, or no such variable",
            "Type: unset CUDA_VISIBLE_DEVICES.",
        )
    missing = seen.get("missing_libraries") or []
    why = f": it can't load {', '.join(missing)}" if missing else ""
    return fail(
        Reason.GPU_UNUSED,
        f"the driver has {number} GPUs, and TensorFlow would silently use the CPU{why}",
        "all of them",
        f"{_INSTALL}; a driver for CUDA 12.5 or newer has to be there.",
    )


def _too_few(found: Mapping[str, Json], number: int, asked: int) -> Finding:
    hidden = found["visible"]
    why = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden!r})"
    no_driver = found["driver"] == Status.MISSING and not has_gpu(found)
    return fail(
        Reason.GPU_MISSING,
        f"TensorFlow sees {number} GPUs{why}" + (", and nvidia-smi isn't there" * no_driver),
        f"{asked}, as asked for",
        "Ask the scheduler for GPUs (--gpus-per-node, nvidia.com/gpu), or unset "
        "CUDA_VISIBLE_DEVICES.",
    )
