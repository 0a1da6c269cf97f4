"""What this machine knows of a launch: its process, its lines, how far it is, how it has ended.

A launch has a folder among its user's files of state, which is not the run's: that one need not be
there on this machine, and whoever starts a run finds it as it was. The folder is held as a run
holds its own (`run_lock`), so that a launcher that was killed has left nothing to believe.
"""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tfscale.errors import FAILURE_CODE, INTERRUPTED_CODE, ConfigError, describe_failure
from tfscale.files import atomic, run_holder
from tfscale.files.checkpoint_names import mark_of
from tfscale.files.ownership import make_private
from tfscale.files.run_directory import LOGS
from tfscale.files.run_holder import Holder
from tfscale.files.run_lock import RunLock, holder_of
from tfscale.process.terminal import silence
from tfscale.supervise.echo import echo
from tfscale.supervise.group_attempt import SAVING_SECONDS
from tools.ssh.courier import BEFORE

_OUTPUT = "output"  # of a launcher that has no terminal
_CODE = "exit-code"
_POLL_SECONDS = 0.2
_BEGIN_SECONDS = 60.0
_END_SECONDS = 2 * SAVING_SECONDS  # workers that don't save in their time are killed
_detached: list["subprocess.Popen[bytes]"] = []  # Python complains if nobody has one any more


def state_folder(environ: Mapping[str, str], *key: str) -> Path:
    """Where what is known of a launch lies.

    Args:
        environ: of the launcher.
        key: what tells it from other launches.
    """
    home = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = hashlib.sha256("\0".join(key).encode(errors="surrogateescape")).hexdigest()[:16]
    return home / "tfscale" / "ssh" / name


class Launches:
    """The launches of one run, of which there is one at a time.

    Args:
        folder: of `state_folder`.

    Attributes:
        run_dir: what the supervisor takes for the run's folder. It isn't the one that is held:
            whoever looks whether a folder is held must not hold it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / "run"

    def run(self, work: Callable[[], int]) -> int:
        """Runs a launch to its end, in this process.

        Raises:
            ConfigError: there is one already.
        """
        make_private(self.folder)
        (self.run_dir / LOGS).mkdir(parents=True, exist_ok=True)
        lock = RunLock(self.folder, silence)
        if lock.take():
            raise self._refusal(run_holder.read(self.folder) or Holder())
        code = FAILURE_CODE
        try:
            if not self._is_detached():
                # An earlier launch's lines would be taken for this one's.
                (self.folder / _OUTPUT).unlink(missing_ok=True)
            for path in (self.folder / _CODE, *self._left_behind()):
                path.unlink(missing_ok=True)
            code = work()
        except BaseException as error:
            is_stop = isinstance(error, KeyboardInterrupt)
            code = INTERRUPTED_CODE if is_stop else describe_failure(error)[1]
            raise
        finally:
            with contextlib.suppress(OSError):
                atomic.write_text(self.folder / _CODE, str(code))
            lock.release()
        return code

    def detach(self, command: Sequence[str]) -> int:
        """Starts a launcher in a session of its own, whose lines go to a file.

        Args:
            command: of one that calls `run`.

        Returns:
            0 as soon as it has begun, else its exit code.

        Raises:
            ConfigError: there is one already.
        """
        if holder := holder_of(self.folder):
            raise self._refusal(holder)
        make_private(self.folder)
        with (self.folder / _OUTPUT).open("wb") as output:
            # Not one of a gang: it is there to outlive this process.
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _detached.append(process)
        deadline = time.monotonic() + _BEGIN_SECONDS
        while (code := process.poll()) is None and time.monotonic() < deadline:
            holder = holder_of(self.folder)
            if holder and holder.pid == process.pid:
                echo(
                    f"[launch] goes on as process {process.pid}, its lines in "
                    f"{self.folder / _OUTPUT}; the same command with --attach follows them, with "
                    "--status says how far it is, with --stop ends it\n"
                )
                return 0
            time.sleep(_POLL_SECONDS)
        process.kill()
        echo((self.folder / _OUTPUT).read_text(encoding="utf-8", errors="replace"), sys.stderr)
        return FAILURE_CODE if code is None else code

    def attach(self) -> int:
        """Shows the lines of a detached launcher until it ends; gives its exit code."""
        path = self.folder / _OUTPUT
        if not path.is_file():
            raise ConfigError(
                "--attach found no launch of this run that was detached from this machine; "
                "expected one, and the same words behind the --. Start it with --detach"
            )
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                is_last = False
                while not is_last:
                    is_last = holder_of(self.folder) is None
                    for text in iter(lambda: lines.read(2**16), ""):
                        echo(text)
                    time.sleep(0.0 if is_last else _POLL_SECONDS)
        except KeyboardInterrupt:
            echo("\n[launch] the run goes on; --stop ends it\n")
            return INTERRUPTED_CODE
        if (code := self._code()) is None:
            echo("[launch] its launcher has ended without a word (killed?)\n")
            return FAILURE_CODE
        return code

    def status(self) -> int:
        """Says what runs, since when, and how far it is."""
        holder, code = holder_of(self.folder), self._code()
        if holder is not None:
            echo(f"[launch] runs: {holder.described()}\n")
        elif code is not None:
            echo(f"[launch] doesn't run; the last launch has ended with exit code {code}\n")
        else:
            is_known = self.folder.is_dir()
            end = "; the last launcher was killed" if is_known else ", and was never launched here"
            echo(f"[launch] doesn't run{end}\n")
        step = self._read(self.run_dir / mark_of(0))
        echo(f"[launch] last checkpoint: {f'step {step}' if step else 'none of this launch'}\n")
        for path in sorted((self.run_dir / LOGS).glob("launch-*.log")):
            said = path.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            echo(f"[launch] last line of worker {path.stem[7:]}: {said}\n")
        return 0

    def stop(self) -> int:
        """Has a launcher stop its run, and waits until it has; gives 0 if it has ended."""
        holder = holder_of(self.folder)
        if holder is None:
            echo("[launch] doesn't run\n")
            return 0
        if not holder.can_be_looked_up:
            raise ConfigError(
                f"The launch is {holder.described()}; expected to be asked on that machine. "
                "Type the same command there"
            )
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGTERM)
        echo(f"[launch] SIGTERM was sent to process {holder.pid}, which lets all workers save\n")
        deadline = time.monotonic() + _END_SECONDS
        while (now := holder_of(self.folder)) is not None and now.nonce == holder.nonce:
            if time.monotonic() >= deadline:
                echo(f"[launch] it still runs after {_END_SECONDS:g} s; {holder.stop()}\n")
                return FAILURE_CODE
            time.sleep(_POLL_SECONDS)
        code = self._code()
        echo(f"[launch] it has ended with exit code {code}\n")
        return 0

    def _code(self) -> int | None:
        text = self._read(self.folder / _CODE)
        return int(text) if text.isdecimal() else None

    def _is_detached(self) -> bool:
        """Whether this process's lines go where `attach` reads them."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(1), (self.folder / _OUTPUT).stat())
        return False

    def _left_behind(self) -> list[Path]:
        """What an earlier launch has left of its progress; its lines stay."""
        return [self.run_dir / name for name in (BEFORE, "report.json", mark_of(0))]

    def _read(self, path: Path) -> str:
        with contextlib.suppress(OSError):
            return path.read_text(encoding="utf-8").strip()
        return ""

    def _refusal(self, holder: Holder) -> ConfigError:
        return ConfigError(
            f"This run is launched already: {holder.described()}; expected one launcher of a run. "
            "The same command with --status says how far it is, with --stop it ends"
        )
