"""All that is found out, as it is found out: what a program shows whenever it has to end."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tfscale.cluster.cluster import Cluster
from tfscale.structures import Json
from tools.doctor.findings import Finding, Severity
from tools.doctor.measurement import Measured
from tools.doctor.node import Facts


@dataclass
class Examination:
    """What is known so far.

    Args:
        cluster: who the workers are.
        nodes: the facts of each that has come, by its rank.
        findings: what is wrong.
        measured: what the links give.
        folder: what writing and reading the run directory gave, by rank.
        offsets: of each worker's clock, as of `comparison.clocks`.
        seconds: of each stage that is over.
        stage: what is done now.
        told_by: who has the table of all: worker 0, or this one where it can't be reached.
    """

    cluster: Cluster = field(default_factory=Cluster)
    nodes: dict[int, Facts] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    measured: Measured = field(default_factory=Measured)
    folder: dict[int, dict[str, Json]] = field(default_factory=dict)
    offsets: dict[int, tuple[float, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = ""
    told_by: int = 0

    @contextlib.contextmanager
    def doing(self, stage: str) -> Iterator[None]:
        """A stage, which is timed."""
        self.stage, began = stage, time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = time.monotonic() - began

    @property
    def would_fail(self) -> bool:
        """Whether a run would fail with what is found so far."""
        return any(finding.severity is Severity.FAIL for finding in self.findings)
