"""What became of each attempt at a run, in small files of its folder: one a node and attempt.

Supervisors of several nodes have no other way to speak to each other: where they share the folder,
the end for good of one ends the others too, which would wait for its worker again and again.
"""

import contextlib
import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tfscale.files import atomic
from tfscale.files.run_directory import LOGS
from tfscale.files.run_lock import is_anothers

_LOOK_SECONDS = 0.5
_NAME = re.compile(r"worker-(\d+)\.(\d+)\.json")


@dataclass(frozen=True)
class Attempt:
    """One attempt of a node, after its end.

    Args:
        worker: the first one that its supervisor has started.
        number: of the attempt on this node, from 1.
        started: when, in seconds since 1970, of this node's clock.
        seconds: that it lasted.
        exit_code: a shell's.
        cause: one line.
        step: the highest that was committed since the supervisor began; None for none.
        is_final: whether the supervisor has ended with it.
    """

    worker: int
    number: int
    started: float
    seconds: float
    exit_code: int
    cause: str
    step: int | None
    is_final: bool


class Attempts:
    """The attempts of one node's supervisor, and the news of the others.

    Args:
        run_dir: None keeps and sees nothing.
        worker: the first one that the supervisor starts.
        has_peers: whether other supervisors take part in the run.
    """

    def __init__(self, run_dir: Path | None, worker: int, *, has_peers: bool) -> None:
        """Looks what is there: that is no news, whatever the clocks of the machines say."""
        self._folder = run_dir and run_dir / "attempts"
        self._worker = worker
        self._has_peers = has_peers
        self._seen = set(self._found())
        own = [number for index, number in self._seen if index == worker]
        self.next_number = max(own, default=0) + 1
        self._looked = 0.0
        self._waiting: list[Attempt] = []
        self._final: Attempt | None = None
        self._remove_unfinished()

    def keep(self, attempt: Attempt) -> None:
        """Files an attempt as soon as its run has a folder, or if there are others to be told.

        Without them no folder is made: it would be in the way of the next command, and a single
        supervisor has nobody to tell.
        """
        self.next_number = attempt.number + 1
        if self._folder is None:
            return
        self._seen.add((attempt.worker, attempt.number))
        self._waiting.append(attempt)
        run_dir = self._folder.parent
        if self._worker == 0 and is_anothers(run_dir):
            return  # its nodes would take the end of this one for that of their chief
        with contextlib.suppress(OSError):  # a full disk must not end what works without it
            if self._has_peers:
                run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if run_dir.is_dir():
                self._folder.mkdir(mode=0o700, exist_ok=True)
                while self._waiting:
                    self._write(self._folder, self._waiting[0])
                    del self._waiting[0]

    def end_of_a_peer(self) -> Attempt | None:
        """The attempt with which another node's supervisor has ended without being done, if so.

        Asked often, it looks twice a second; an NFS may show a file a minute late.
        """
        now = time.monotonic()
        if self._final is None and self._has_peers and now >= self._looked + _LOOK_SECONDS:
            self._looked = now
            for key, path in self._found().items():
                if key not in self._seen and key[0] != self._worker:
                    self._read(key, path)
        return self._final

    def _write(self, folder: Path, attempt: Attempt) -> None:
        name = f"worker-{attempt.worker}.{attempt.number}.json"
        atomic.write_text(folder / name, json.dumps(asdict(attempt)) + "\n")

    def _read(self, key: tuple[int, int], path: Path) -> None:
        # Files of another version, or of nobody's: no reason to end.
        with contextlib.suppress(OSError, ValueError, TypeError):
            attempt = Attempt(**json.loads(path.read_text(encoding="utf-8")))
            self._seen.add(key)
            if attempt.is_final and attempt.exit_code:
                self._final = attempt

    def _found(self) -> dict[tuple[int, int], Path]:
        if self._folder is None:
            return {}
        with contextlib.suppress(OSError):
            names = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
            return {(int(name[1]), int(name[2])): path for name, path in names if name}
        return {}

    def _remove_unfinished(self) -> None:
        """Removes what this node's supervisor was writing when it was killed."""
        if self._folder is not None:
            pattern = f"{atomic.TEMPORARY_PREFIX}*-worker-{self._worker}.*"
            with contextlib.suppress(OSError):
                for path in self._folder.glob(pattern):
                    path.unlink(missing_ok=True)


def mark_logs(run_dir: Path | None, workers: range, line: str) -> None:
    """Says in the workers' logs where an attempt has ended; those of the next one follow.

    They stay in one file, whose name the reason of an end has already told.
    """
    if run_dir is None:
        return
    for index in workers:
        for kind in ("worker", "launch"):
            path = run_dir / LOGS / f"{kind}-{index}.log"
            with contextlib.suppress(OSError):
                if path.is_file():
                    with path.open("a", encoding="utf-8") as log:
                        log.write(f"[launch] {line}\n")
