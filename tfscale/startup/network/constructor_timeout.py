"""An end for TensorFlow's constructor, which waits for all workers to join, for ever if it has to.

A worker may have ended since it was met. The constructor holds Python's lock while it waits in C++,
so that no thread of this process can say who is gone. A process beside it can; then a timer of C,
which needs no lock, ends this one with code 1.
"""

import contextlib
import faulthandler
import subprocess
import sys
from collections.abc import Iterator

from tfscale.cluster.cluster import Cluster

# Its standard input ends when this process goes on, or ends.
_SPEAKER = """
import select, socket, sys
index, seconds, *places = sys.argv[1:]
if select.select([sys.stdin], [], [], float(seconds))[0]:
    sys.exit()
gone = []
for rank, place in enumerate(places):
    host, _, port = place.rpartition(":")
    try:
        if rank != int(index) and len(gone) < 2:
            socket.create_connection((host.strip("[]"), int(port)), 0.5).close()
    except OSError as error:
        gone.append(f"worker {rank} at {place} is gone again ({error.strerror or error})")
sys.stderr.write(
    f"Worker {index} gave up: all workers were there, but TensorFlow has not joined them within "
    f"{float(seconds):.0f} s; {', '.join(gone) or 'all of them answer'}. Look at the others' logs "
    "and start all workers again; --start_timeout sets the limit.\\n"
)
"""
_SPEAKING_SECONDS = 1.5


@contextlib.contextmanager
def ended_at(timeout_seconds: float, cluster: Cluster, terminal: int) -> Iterator[None]:
    """Says who is gone, and ends the process, if the body takes longer.

    Args:
        timeout_seconds: how long it may take.
        cluster: whose workers are looked for.
        terminal: descriptor of what the reader sees.
    """
    command = [sys.executable, "-I", "-S", "-c", _SPEAKER]
    facts = [str(cluster.index), str(timeout_seconds), *cluster.addresses]
    speaker = subprocess.Popen(
        [*command, *facts], stdin=subprocess.PIPE, stderr=terminal, start_new_session=True
    )
    faulthandler.dump_traceback_later(timeout_seconds + _SPEAKING_SECONDS, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        speaker.kill()
        speaker.communicate()
