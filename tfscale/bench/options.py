"""How a system is asked to train a profile."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What the systems have in common; each takes what it knows.

    Args:
        wire_dtype: of gradients while they travel.
        bucket_mb: mebibytes of gradients in one all-reduce.
        steps_per_call: steps of an on-device loop, 0 to let the system choose.
    """

    wire_dtype: str = "float32"
    bucket_mb: float = 8.0
    steps_per_call: int = 0
