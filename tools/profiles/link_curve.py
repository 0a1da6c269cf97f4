"""How long all-reduces take on the links of a cluster: what a doctor measures and others read.

The file is a list with a row for each size that workers have summed together:
`{"workers", "ranks", "nodes", "replicas", "collectives", "wire_dtype", "bytes", "seconds_median",
"bus_bytes_per_second", "promised_bytes_per_second"}`.
"""

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tfscale.errors import ConfigError


@dataclass(frozen=True)
class Group:
    """Who has summed, and how.

    Args:
        ranks: of the workers, as the cluster counts them.
        nodes: the name of each one's machine.
        replicas: of all of them together.
        collectives: "nccl" or "ring".
        wire_dtype: what a run's setting of that name was.
        promised_bytes_per_second: what the slowest of their network cards says it can do; 0 where
            none says anything, as a virtual one doesn't.
    """

    ranks: tuple[int, ...]
    nodes: tuple[str, ...]
    replicas: int
    collectives: str
    wire_dtype: str
    promised_bytes_per_second: float = 0.0


@dataclass(frozen=True)
class Point:
    """An all-reduce of one size.

    Args:
        size_bytes: of gradients in float32.
        seconds_median: that it took.
        bus_bytes_per_second: what each replica sends in that time, 2 (n - 1) / n of what travels of
            the size, as nccl-tests define their bus bandwidth (its doc/PERFORMANCE.md): what a link
            has to give, whatever the number of replicas.
    """

    size_bytes: int
    seconds_median: float
    bus_bytes_per_second: float


@dataclass(frozen=True)
class LinkCurve:
    """What a group of workers needs for an all-reduce, over its size.

    Args:
        group: who.
        points: by size, at least one.
    """

    group: Group
    points: tuple[Point, ...]

    @property
    def latency_seconds(self) -> float:
        """What any all-reduce takes: the time of the smallest."""
        return self.points[0].seconds_median

    @property
    def bus_bytes_per_second(self) -> float:
        """The most that was seen at any size."""
        return max(point.bus_bytes_per_second for point in self.points)

    def seconds_of(self, size_bytes: float) -> float:
        """What an all-reduce of any size takes: along straight lines between what was measured.

        Beyond the largest size it grows in proportion.
        """
        first, last = self.points[0], self.points[-1]
        if size_bytes <= first.size_bytes:
            return first.seconds_median
        for left, right in itertools.pairwise(self.points):
            if size_bytes <= right.size_bytes:
                share = (size_bytes - left.size_bytes) / (right.size_bytes - left.size_bytes)
                return left.seconds_median + share * (right.seconds_median - left.seconds_median)
        return last.seconds_median * size_bytes / last.size_bytes


def link_curves_text(curves: tuple[LinkCurve, ...]) -> str:
    """The JSON that `load_link_curves` reads, one row a line."""
    rows = [_row(curve.group, point) for curve in curves for point in curve.points]
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"


def load_link_curves(path: str | Path) -> tuple[LinkCurve, ...]:
    """Reads what was measured, a curve for each group of workers.

    Raises:
        ConfigError: there is no such file, or it is another one.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        found: dict[Group, list[Point]] = {}
        for row in rows:
            group = Group(
                tuple(int(rank) for rank in row["ranks"]),
                tuple(str(name) for name in row["nodes"]),
                int(row["replicas"]),
                str(row["collectives"]),
                str(row["wire_dtype"]),
                float(row["promised_bytes_per_second"]),
            )
            values = (float(row[name]) for name in ("seconds_median", "bus_bytes_per_second"))
            found.setdefault(group, []).append(Point(int(row["bytes"]), *values))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path} has no curves of links ({type(error).__name__}: {error}); expected what "
            "launch/doctor.py writes. Run it on all nodes with --run_dir or --out."
        ) from error
    by_size = {
        group: sorted(points, key=lambda point: point.size_bytes) for group, points in found.items()
    }
    return tuple(LinkCurve(group, tuple(points)) for group, points in by_size.items())


def _row(group: Group, point: Point) -> dict[str, object]:
    told = asdict(group)
    promised = told.pop("promised_bytes_per_second")
    return {
        "workers": len(group.ranks),
        **told,
        "bytes": point.size_bytes,
        "seconds_median": point.seconds_median,
        "bus_bytes_per_second": point.bus_bytes_per_second,
        "promised_bytes_per_second": promised,
    }
