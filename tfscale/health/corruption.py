"""Silent corruption: a bit of one replica's weights or optimizer that is not what it was.

Replicas start alike and take the same sums, so that they stay alike bit for bit. They are compared
before each checkpoint, so that none is written of a state that isn't sound, and between two of them
as often as that takes less than half a hundredth of the time. What replicas keep by themselves and
average at the end of a loop, such as batch statistics, is alike afterwards whatever it was before.
"""

import hashlib
import struct
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tfscale.errors import FAILURE_CODE, Kind, SharedFailure
from tfscale.fit.distributed_model import DistributedModel
from tfscale.fit.guards.fingerprints import Fingerprints
from tfscale.fit.loop.events import Boundary, Point
from tfscale.listener import Listener
from tfscale.startup.job import Job

_MOST_OF_THE_TIME = 0.004  # the promise is half a hundredth
_MOST_NAMED = 4
_DIGEST = struct.Struct("<32sd")  # of a replica's fingerprint, and what the last one took there


class Guard(Listener):
    """Compares all replicas at points, and when it is asked before a checkpoint.

    Args:
        job: whose replicas are compared; with one, or where their sums needn't be alike, none are.
        distributed: what trains on them.
    """

    def __init__(self, job: Job, distributed: DistributedModel) -> None:
        self.compared = 0
        self._job, self._distributed = job, distributed
        self._prints = Fingerprints(job.strategy, distributed.state.shared)
        self._sound_step = 0
        self._is_over = False  # a loop, since the last point
        self._cost = self._trained = self._own_seconds = 0.0

    def at_boundary(self, boundary: Boundary) -> None:
        """Counts the time since the last comparison, the same on every worker, as the cost is."""
        self._trained += float(boundary.seconds.max())
        self._is_over = True

    def at_point(self, point: Point) -> None:
        """Compares after a loop of training, if it is time to.

        Raises:
            SharedFailure: replicas differ.
        """
        if point.loop != "fit":
            return
        is_over, self._is_over = self._is_over, False
        if is_over and self._trained * _MOST_OF_THE_TIME >= self._cost:
            self.compare()

    def compare(self) -> None:
        """Compares now; called on every worker.

        Raises:
            SharedFailure: replicas differ.
        """
        step = self._distributed.step
        if step == self._sound_step or not self._is_meant():
            return
        began = time.perf_counter()
        own = self._prints.read()
        carrier = self._distributed.carrier
        told = [_DIGEST.pack(hashlib.sha256(sums).digest(), self._own_seconds) for sums in own]
        everybody = [_DIGEST.unpack(one) for one in carrier.of_all_replicas(told)]
        if len({digest for digest, _ in everybody}) > 1:
            self._end(carrier.of_all_replicas(own))
        self.compared += 1
        self._sound_step, self._trained = step, 0.0
        # What the last comparison took, as all have heard now; this one's is told with the next.
        self._cost = max(seconds for _, seconds in everybody)
        if self.compared > 1:  # the first one is traced
            self._own_seconds = time.perf_counter() - began

    def _is_meant(self) -> bool:
        """Not where there is one copy, or where rows are summed in any order, as on a GPU."""
        if self._job.strategy.num_replicas_in_sync == 1:
            return False
        return not (self._job.devices.kind == "GPU" and self._distributed.parts.traffic.sparse)

    def _end(self, fingerprints: Sequence[bytes]) -> None:
        sums = np.stack([np.frombuffer(one, np.float64) for one in fingerprints])
        places = np.flatnonzero((sums != sums[0]).any(axis=0))
        name = self._prints.names[int(places[0])]
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        sound = self._sound_step
        since = f"step {sound}, at which they were compared" if sound else "the beginning"
        raise SharedFailure(
            f"After step {self._distributed.step} the copies of the model differ in {name}{more}: "
            f"{self._odd(fingerprints)}. They were alike at {since}: a bit has changed in memory "
            "or on its way. The same command resumes from the last checkpoint, which was compared "
            "before it was written; if it comes again, test that machine's memory and device.",
            FAILURE_CODE,
            Kind.CORRUPTION,
            self._distributed.step,
        )

    def _odd(self, fingerprints: Sequence[bytes]) -> str:
        """The replicas that aren't like most; with two, nobody can say which is right."""
        (most, count), *_ = Counter(fingerprints).most_common()
        odd = [number for number, one in enumerate(fingerprints) if one != most]
        if 2 * count > len(fingerprints):
            return f"{self._all_named(odd)} {'is' if len(odd) == 1 else 'are'} unlike the others"
        alike = [number for number, one in enumerate(fingerprints) if one == most]
        return (
            f"{self._all_named(alike)} and {self._all_named(odd)} differ, and it can't be told "
            "which is right"
        )

    def _all_named(self, replicas: Sequence[int]) -> str:
        more = f" and {len(replicas) - _MOST_NAMED} more" if len(replicas) > _MOST_NAMED else ""
        return ", ".join(map(self._named, replicas[:_MOST_NAMED])) + more

    def _named(self, replica: int) -> str:
        rank, local = divmod(replica, self._job.devices.count)
        return f"replica {local} of {self._job.cluster.named(rank)}"
