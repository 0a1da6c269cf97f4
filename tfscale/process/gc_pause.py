"""Python's garbage collector, kept away from the start of a run.

Importing TensorFlow and tracing functions makes a million objects that stay. Each time there are a
quarter more of them, the collector looks through all of them and finds nothing: half a second of a
start of five, and pauses of a tenth of a second later, for which all other workers wait.
"""

import contextlib
import gc
from collections.abc import Callable, Iterator

from tfscale.process.exit import ends_with_the_run


@contextlib.contextmanager
def paused_until_started() -> Iterator[Callable[[], None]]:
    """Collects nothing in the body until what it gives is called, or the body ends.

    From that call on only newer objects are looked through. Afterwards the collector is what it
    was; one that was switched off stays so. What the body left is collected, unless the process
    ends: objects that were frozen are never counted, so that Python would not look for those that
    are over for a long time, and ten trainings would hold the memory of ten.
    """
    was_enabled = gc.isenabled()
    had_frozen = gc.get_freeze_count()
    gc.disable()

    def started() -> None:
        if was_enabled and not gc.isenabled():
            gc.freeze()
            gc.enable()

    try:
        yield started
    finally:
        if not had_frozen:
            gc.unfreeze()
        if was_enabled:
            gc.enable()
            if not ends_with_the_run():
                gc.collect()
