"""What a node is told to measure; travels to it, and to its process with TensorFlow, as JSON."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Order:
    """One measurement, as one of its workers sees it.

    Args:
        hosts: `host:port` of those that sum together; none for the devices of a worker alone.
        index: which of them this is.
        collectives: as of a run.
        wire_dtype: as of a run.
        devices: as of a run.
        seconds: for all sizes together.
        start_seconds: for them to meet.
        most_bytes: of the largest size.
    """

    hosts: tuple[str, ...]
    index: int
    collectives: str
    wire_dtype: str
    devices: int
    seconds: float
    start_seconds: float
    most_bytes: int

    def as_json(self) -> str:
        """As it travels."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Order":
        """As it came."""
        told = json.loads(text)
        return cls(**told | {"hosts": tuple(told["hosts"])})
