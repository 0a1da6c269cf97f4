"""TensorFlow, asked in processes of its own: it may hang in a driver, and is killed then."""

import contextlib
import re
import sys
import time

from tfscale.errors import WorkerError
from tfscale.process.patience import do_within
from tfscale.structures import Json
from tfscale.supervise.answers import Workers
from tools.doctor.orders import Order

_KILL_SECONDS = 3.0
_CHILD = "tools.doctor.tensorflow_child"
# The last word of a process that has not failed by itself: something that went well.
_WITHOUT_A_REASON = re.compile(r": [IW]\d{4} .*$", re.DOTALL)
# So that it says which library of a GPU it can't load, which it otherwise keeps to itself.
_TALKATIVE = ["env", "TF_CPP_MIN_LOG_LEVEL=0", "TF_CPP_VMODULE=dso_loader=1"]


class TensorflowProcess:
    """What TensorFlow sees on this node, and what it measures together with others."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._workers: Workers | None = None
        self.facts: dict[str, Json] = {}

    def see(self, seconds: float) -> None:
        """Starts a process and asks what TensorFlow sees, which `facts` has then.

        Raises:
            WorkerError: TensorFlow can't be imported, or doesn't answer in time.
        """
        self.end()
        command = [*_TALKATIVE, sys.executable, "-m", _CHILD]
        self._workers = Workers([("TensorFlow", command)])
        try:
            (self.facts,) = self._workers.answers(seconds)
        except WorkerError:
            self.end()
            raise

    def get_ready(self, seconds: float) -> dict[str, Json]:
        """Starts a process, unless there is one; `error` and `is_late` as of `measure`."""
        deadline = time.monotonic() + seconds
        try:
            if self._workers is None:
                self.see(seconds)
            return {"is_ready": True}
        except WorkerError as error:
            return _told(error, deadline)

    def measure(self, order: Order, seconds: float) -> dict[str, Json]:
        """Measures, in a process that has measured nothing before, which ends with it.

        Args:
            order: with whom.
            seconds: for all of it.

        Returns:
            `replicas`, `collectives` and `points`, each [bytes, seconds, bus bytes a second]; or
            `error`, a line, and `is_late`, whether the time was over.
        """
        deadline = time.monotonic() + seconds
        try:
            if self._workers is None:
                return {"error": "TensorFlow has ended", "is_late": False}
            self._workers.order(order.as_json())
            (answer,) = self._workers.answers(deadline - time.monotonic())
            return answer
        except WorkerError as error:
            return _told(error, deadline)
        finally:
            self.end()

    def end(self) -> None:
        """Kills the process; one that a driver holds is left behind, for its guard to end."""
        workers, self._workers = self._workers, None
        if workers is not None:
            with contextlib.suppress(OSError):
                do_within(_KILL_SECONDS, workers.end)


def _told(error: WorkerError, deadline: float) -> dict[str, Json]:
    said = _WITHOUT_A_REASON.sub("", error.reason)
    return {"error": said, "is_late": time.monotonic() >= deadline}
