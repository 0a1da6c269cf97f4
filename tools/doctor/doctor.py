"""The story of an examination, on each node; it ends in time, whatever is broken."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tfscale.errors import ConfigError, SharedFailure
from tfscale.files import atomic
from tools.doctor import node
from tools.doctor.asked import Asked
from tools.doctor.examination import Examination
from tools.doctor.findings import Finding, Reason, fail, refused
from tools.doctor.follower import Follower
from tools.doctor.lead import Lead
from tools.doctor.tensorflow_process import TensorflowProcess
from tools.doctor.time_limits import Background
from tools.profiles.link_curve import link_curves_text

LONGEST_SECONDS = 85.0
_MEASURING_ENDS = 78.0  # seconds after the beginning, with what follows it in mind
OUT = "doctor/links.json"  # in the run directory


def examine(asked: Asked, show: Callable[[Examination, bool], None]) -> bool:
    """Examines this node, with all others where there are some.

    Args:
        asked: what a run would be.
        show: gets what was found, and whether that is all: if the time is over before, from another
            thread, which has to end the process.

    Returns:
        Whether a run would fail: the same on every node that worker 0 reaches.
    """
    began = time.monotonic()
    found, tensorflow, is_over = Examination(), TensorflowProcess(), threading.Event()

    def watch() -> None:
        if not is_over.wait(LONGEST_SECONDS):
            found.findings.append(_took_too_long(found.stage))
            show(found, False)

    threading.Thread(target=watch, name="watch", daemon=True).start()
    try:
        would_fail = _examine(asked, found, tensorflow, began)
    finally:
        is_over.set()
        tensorflow.end()
    show(found, True)
    return would_fail


def _examine(asked: Asked, found: Examination, tensorflow: TensorflowProcess, began: float) -> bool:
    with found.doing("cluster"):
        try:
            found.cluster = asked.resolve()
        except ConfigError as error:
            found.findings.append(refused(Reason.CLUSTER, error))
        except SharedFailure as error:
            advice = "Start this program on every node at the same time."
            found.findings.append(fail(Reason.CLUSTER, error.reason, "all of them", advice))
    cluster = found.cluster
    facts = Background(lambda: node.facts(asked, cluster, tensorflow))
    if cluster.is_chief:
        Lead(asked, found, tensorflow, began + _MEASURING_ENDS).examine(facts)
        return found.would_fail
    would_fail = Follower(asked, found, tensorflow).examine(facts)
    return found.would_fail if would_fail is None else would_fail


def write_curves(found: Examination, out: str) -> str:
    """Writes what was measured; gives a line about it, "" where there is nothing to write.

    Args:
        found: after the examination.
        out: path of the file.
    """
    curves = found.measured.curves
    if not curves or not out:
        return ""
    try:
        path = Path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, link_curves_text(curves))
    except OSError as error:
        return f"{out} can't be written: {error.strerror or error}"
    return f"{out}, for the benchmark and for plans"


def _took_too_long(stage: str) -> Finding:
    return fail(
        Reason.TIME,
        f"the examination stood still for {LONGEST_SECONDS:.0f} s, in its stage {stage!r}",
        "an end",
        "Look at dmesg on that node: a disk, a driver or the name server doesn't answer.",
    )
