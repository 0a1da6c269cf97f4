"""How far a run is, told to Kubeflow Trainer, which shows it in the status of its TrainJob.

Trainer 2.2 and newer, where its feature gate `TrainJobStatus` is on, gives each pod of a TrainJob
an address, a certificate and a token for it:
https://github.com/kubeflow/trainer/blob/v2.3.0/docs/user-guides/trainjob-progress.md
"""

import http.client
import json
import math
import numbers
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tfscale.fit.loop.events import Boundary, EpochEnd, Point
from tfscale.listener import Listener
from tfscale.structures import Json

if TYPE_CHECKING:
    from tfscale.fit.prepare_job import Prepared
    from tfscale.startup.job import Job

_EVERY_SECONDS = 10.0  # Trainer asks for 5 or more between two
_ANSWER_SECONDS = 5.0
_MOST_METRICS, _LONGEST_NAME, _MOST_SECONDS = 256, 64, 2**31 - 1  # that such a status holds


@dataclass(frozen=True)
class Server:
    """Where a TrainJob's status is told.

    Args:
        url: of HTTPS, because the token goes there.
        certificates: path of the authority's.
        token: path of a file, which is written anew every hour.
    """

    url: str
    certificates: str
    token: str


def status_listeners(environ: Mapping[str, str]) -> list[Listener]:
    """What tells Trainer how far the run is, in a pod of a TrainJob; nothing elsewhere.

    Args:
        environ: of this process.
    """
    names = ("URL", "CA_CERT", "TOKEN")
    found = [environ.get(f"KUBEFLOW_TRAINER_SERVER_{name}", "") for name in names]
    return [TrainerStatus(Server(*found))] if all(found) else []


class TrainerStatus(Listener):
    """Tells progress, the time that is left, and the last figures; the chief alone does.

    It never holds up a training and never ends one: it sends from a thread of its own, one message
    at a time, and the first failure is told in a line.

    Args:
        server: where.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._job: Job | None = None
        self._share: float | None = None  # of the training that is done
        self._began: tuple[float, float] | None = None  # when, with which share
        self._figures: dict[str, float] = {}
        self._sending: threading.Thread | None = None
        self._sent_at = -math.inf
        self._problem, self._has_told = "", False

    def begin(self, job: "Job", prepared: "Prepared") -> None:
        """Notes whose run it is."""
        self._job = job if job.cluster.is_chief else None

    def at_boundary(self, boundary: Boundary) -> None:
        """Notes the figures of the training."""
        self._note(boundary.logs)

    def at_point(self, point: Point) -> None:
        """Tells how far the training is, if a message is due."""
        if self._job is None:
            return
        if point.loop == "fit" and point.steps:
            self._reach(point.step / (point.steps * self._job.config.epochs))
        if time.monotonic() - self._sent_at >= _EVERY_SECONDS:
            self._send()

    def at_epoch_end(self, end: EpochEnd) -> None:
        """Notes the figures of the epoch, and how far that is where nobody knew its steps."""
        self._note(end.logs)
        if self._job is not None:
            self._reach((end.epoch + 1) / self._job.config.epochs)

    def report(self) -> dict[str, Json]:
        """Tells that the training is done, however early it has ended."""
        if self._job is not None:
            self._reach(1.0)
            self._wait()
            self._send()
            self._wait()
            self._tell_problem()
        return {}

    def _note(self, logs: Mapping[str, Json]) -> None:
        self._figures |= {
            name: float(value) for name, value in logs.items() if isinstance(value, numbers.Real)
        }

    def _reach(self, share: float) -> None:
        self._share = min(share, 1.0)
        self._began = self._began or (time.monotonic(), self._share)

    def _send(self) -> None:
        """Sends a message in the background, unless the last one is still on its way."""
        self._tell_problem()
        if self._sending is not None and self._sending.is_alive():
            return
        message = json.dumps({"trainerStatus": self._status()}).encode()
        self._sent_at = time.monotonic()
        self._sending = threading.Thread(
            target=self._post, args=(message,), name="trainer-status", daemon=True
        )
        self._sending.start()

    def _wait(self) -> None:
        if self._sending is not None:
            self._sending.join(_ANSWER_SECONDS + 1)

    def _status(self) -> dict[str, Json]:
        status: dict[str, Json] = {
            "lastUpdatedTime": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics": [
                {"name": name[:_LONGEST_NAME], "value": f"{value:.6g}"}
                for name, value in list(self._figures.items())[:_MOST_METRICS]
                if name
            ],
        }
        if self._share is None or self._began is None:
            return status
        status["progressPercentage"] = math.floor(100 * self._share + 1e-9)
        began, share = self._began
        if self._share > share:
            speed = (self._share - share) / max(time.monotonic() - began, 1e-9)
            left = math.ceil((1 - self._share) / speed)
            status["estimatedRemainingSeconds"] = min(left, _MOST_SECONDS)
        return status

    def _post(self, message: bytes) -> None:
        try:
            self._problem = self._posted(message)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._problem = str(error) or type(error).__name__

    def _posted(self, message: bytes) -> str:
        """What was wrong with a message that has come to an answer; "" if nothing."""
        to = urlsplit(self._server.url)
        if to.scheme != "https" or not to.hostname:
            return "KUBEFLOW_TRAINER_SERVER_URL is no address of HTTPS"
        trusted = ssl.create_default_context(cafile=self._server.certificates)
        token = Path(self._server.token).read_text(encoding="utf-8").strip()
        # No proxy of the environment is asked, which `http.client` doesn't know.
        connection = http.client.HTTPSConnection(
            to.hostname, to.port, timeout=_ANSWER_SECONDS, context=trusted
        )
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request("POST", to.path, message, headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        return "" if answer.status == http.client.OK else f"{answer.status} {answer.reason}"

    def _tell_problem(self) -> None:
        if self._problem and not self._has_told and self._job is not None:
            self._has_told = True
            self._job.terminal.complain(
                f"Kubeflow Trainer isn't told how far this run is ({self._problem}), which goes on."
            )
