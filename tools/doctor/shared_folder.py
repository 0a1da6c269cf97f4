"""Whether all nodes see the same folder, and how fast it is; one that hangs is no wait."""

import os
import time
from pathlib import Path

from tfscale.structures import Json
from tools.doctor.findings import Finding, Reason, fail, warn
from tools.doctor.time_limits import within

FOLDER = "doctor"  # in the run directory
SECONDS = 10.0  # for all that is asked of it in one go
_BYTES, _PIECE_BYTES = 64 * 2**20, 4 * 2**20
_WRITING_SECONDS = 3.0  # after which less than all of it has to do
_SEEN_SECONDS = 5.0  # in which another node of an NFS sees a new file
_LEAST_BYTES_PER_SECOND = 5e6
_HANGS = {"error": f"it has not answered within {SECONDS:g} s"}


def write(run_dir: str, name: str) -> dict[str, Json]:
    """Writes a file and makes it durable: `bytes_per_second`, or `error`.

    Args:
        run_dir: is made where it isn't there.
        name: of the file, which is its first line as well.
    """
    path = Path(run_dir, FOLDER, name)

    def work() -> dict[str, Json]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            began, written = time.monotonic(), 0
            with path.open("wb") as file:
                file.write(f"{name}\n".encode())
                while written < _BYTES and time.monotonic() < began + _WRITING_SECONDS:
                    written += file.write(os.urandom(_PIECE_BYTES))
                file.flush()
                os.fsync(file.fileno())
                # Or this machine would read what it still has in memory.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return {"bytes_per_second": written / (time.monotonic() - began)}
        except OSError as error:
            return {"error": error.strerror or str(error)}

    return within(SECONDS, work, _HANGS)


def read(run_dir: str, name: str) -> dict[str, Json]:
    """Looks for the file of another node: `is_seen`, `bytes_per_second`; or `error`."""
    path = Path(run_dir, FOLDER, name)

    def work() -> dict[str, Json]:
        deadline = time.monotonic() + _SEEN_SECONDS
        while not path.is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not path.is_file():
            return {"is_seen": False}
        began, count = time.monotonic(), 0
        with path.open("rb") as file:
            is_seen = file.readline() == f"{name}\n".encode()
            while (part := file.read(_PIECE_BYTES)) and time.monotonic() < deadline:
                count += len(part)
        return {"is_seen": is_seen, "bytes_per_second": count / (time.monotonic() - began)}

    return within(SECONDS, work, _HANGS)


def remove(run_dir: str, name: str) -> None:
    """Removes the file, and the folder that was made for it if nothing else is in it."""

    def work() -> None:
        path = Path(run_dir, FOLDER, name)
        path.unlink(missing_ok=True)
        path.parent.rmdir()

    within(SECONDS, work, None)


def judge(run_dir: str, told: dict[int, dict[str, Json]]) -> list[Finding]:
    """What is wrong with the folder.

    Args:
        run_dir: of worker 0.
        told: what worker 0 has written and the others have read, by rank.
    """
    findings = []
    for rank, said in told.items():
        if "error" in said:
            finding = fail(
                Reason.FOLDER_NOT_WRITABLE,
                f"--run_dir={run_dir}: {said['error']}",
                "a folder that answers and may be written to",
                "Look at the mount (df, dmesg) and the permissions on that node.",
            )
        elif not said.get("is_seen", True):
            finding = warn(
                Reason.FOLDER_NOT_SHARED,
                f"--run_dir={run_dir} isn't the same folder here: the file of worker 0 isn't in it",
                "one folder that all nodes see",
                "Put it on a shared file system. A run needs it only on worker 0; --restarts on "
                "several nodes and mpirun without --leader do everywhere.",
            )
        elif said["bytes_per_second"] < _LEAST_BYTES_PER_SECOND:
            finding = warn(
                Reason.FOLDER_SLOW,
                f"--run_dir={run_dir} takes or gives {said['bytes_per_second'] / 1e6:.1f} MB/s",
                f"{_LEAST_BYTES_PER_SECOND / 1e6:.0f} MB/s or more",
                "Checkpoints would take long: use another file system, or larger "
                "--checkpoint_every_steps.",
            )
        else:
            continue
        findings.append(finding.at(rank))
    return findings
