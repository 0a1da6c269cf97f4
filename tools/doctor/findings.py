"""What a doctor finds: a reason from a fixed list, whose it is, and what to do about it."""

import enum
from dataclasses import dataclass

from tfscale.structures import Json


class Reason(enum.StrEnum):
    """Why a run would fail or be slow; programs may rely on these words."""

    CLUSTER = "cluster"  # who the workers are can't be found out
    VERSION = "version"
    NODES_DIFFER = "nodes differ"
    ENVIRONMENT = "environment"  # a variable with which no run starts
    TENSORFLOW = "tensorflow"  # it can't be imported, or doesn't answer
    GPU_MISSING = "gpu missing"  # fewer than were asked for
    GPU_UNUSED = "gpu unused"  # the driver has one, and TensorFlow would use the CPU
    GPU_SHARED = "gpu shared"  # several workers see one, and can't all have it
    DRIVER = "driver"  # it doesn't answer, or says no
    CUDNN = "cudnn"
    CORES = "cores"
    MEMORY = "memory"
    LOCKED_MEMORY = "locked memory"
    SHARED_MEMORY = "shared memory"
    PORT = "port"
    PUBLIC_ADDRESS = "public address"
    NAME = "name"  # of a host, which leads nowhere
    LOOPBACK = "loopback"  # a host's name leads to the machine that asks
    ADDRESS = "address"  # not one of that machine
    INTERFACE = "interface"
    PROXY = "proxy"
    MISSING = "missing"  # a worker didn't come
    UNREACHABLE = "unreachable"  # a worker that others can't reach
    CLOCK = "clock"
    FOLDER_NOT_WRITABLE = "folder not writable"
    FOLDER_NOT_SHARED = "folder not shared"
    FOLDER_SLOW = "folder slow"
    ALL_REDUCE = "all-reduce"  # it failed, or didn't come to its end
    SLOW_LINK = "slow link"
    SLOW_NODE = "slow node"
    TIME = "time"  # the examination itself took too long


class Severity(enum.StrEnum):
    """What becomes of a run."""

    FAIL = "fail"  # it would fail, or wouldn't be what was asked for
    WARN = "warn"  # it would be slow, or is right by luck


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        reason: which of the list.
        severity: what it means for a run.
        came: what was seen, with the setting and its value.
        expected: instead.
        remedy: what to do, as a sentence.
        node: rank of the worker; None where it belongs to none or to several.
    """

    reason: Reason
    severity: Severity
    came: str
    expected: str
    remedy: str
    node: int | None = None

    def at(self, rank: int) -> "Finding":
        """The same of a worker."""
        return Finding(self.reason, self.severity, self.came, self.expected, self.remedy, rank)

    def as_json(self) -> dict[str, Json]:
        """For another program."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of_json(cls, told: dict[str, Json]) -> "Finding":
        """From there."""
        return cls(
            **told | {"reason": Reason(told["reason"]), "severity": Severity(told["severity"])}
        )


def fail(reason: Reason, came: str, expected: str, remedy: str) -> Finding:
    """Something with which a run would fail."""
    return Finding(reason, Severity.FAIL, came, expected, remedy)


def warn(reason: Reason, came: str, expected: str, remedy: str) -> Finding:
    """Something with which a run would be worse."""
    return Finding(reason, Severity.WARN, came, expected, remedy)


def refused(reason: Reason, error: Exception) -> Finding:
    """What a run refuses: its line has what came, what was expected, what to do."""
    came, _, rest = str(error).partition("; expected ")
    expected, _, remedy = rest.partition(". ")
    return fail(reason, came, expected or "none of that", remedy)
