"""A training between two steps: taken from the living one, and put back into it.

All workers take part in both, because some of it is each replica's own; the chief has all of it.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from safetensors.numpy import load, save

from tfscale.checkpoints.callback_states import CallbackStates
from tfscale.checkpoints.commit import Checkpoint
from tfscale.fit.loop.loop_ends import Resumed
from tfscale.fit.prepare_job import Prepared
from tfscale.fit.state.training_state import WEIGHTS
from tfscale.listener import Listener
from tfscale.startup.agreement import versions
from tfscale.startup.job import Job
from tfscale.structures import Json

# Names of files: what plain Keras has a place for, and the rest.
WEIGHTS_FILE, STATE_FILE = "weights.safetensors", "state.safetensors"
_PYTHON, _NUMPY = "random/python", "random/numpy"  # names of arrays
_GROUP_BYTES = 2**26  # of arrays that travel together to workers without the chief's files


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint is written of.

    Args:
        files: arrays of each file.
        facts: what else there is, ready for JSON.
    """

    files: dict[str, dict[str, np.ndarray]]
    facts: dict[str, Json]

    @property
    def step(self) -> int:
        """Training steps before it."""
        return int(self.facts["step"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Those of all files."""
        return {name: one for arrays in self.files.values() for name, one in arrays.items()}


class Snapshots:
    """Takes a training's state, and puts one back.

    Args:
        job: whose workers train.
        prepared: what trains.
        keeping: callbacks and listeners that keep something; those that every worker has come
            first, in one order.
        require_sound: raises on every worker if the training's state is none to go on from.

    Attributes:
        prepared: what trains.
    """

    def __init__(
        self,
        job: Job,
        prepared: Prepared,
        keeping: Sequence[keras.callbacks.Callback | Listener],
        require_sound: Callable[[], None],
    ) -> None:
        """Looks at the callbacks as they were made."""
        self._require_sound = require_sound
        self._job = job
        self.prepared = prepared
        self._distributed = prepared.distributed
        self._states = CallbackStates(keeping)
        self._has_told = False

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch."""
        return self.prepared.data.training.steps or 1

    def begin(self) -> None:
        """Training has begun: all callbacks have been told, and no step is taken."""
        self._states.begin()

    def tell_left_out(self) -> None:
        """Says once, after the first step, what no checkpoint can hold."""
        left_out = [] if self._has_told else self._left_out()
        self._has_told = True
        if left_out:
            self._job.terminal.show(
                f"A checkpoint can't hold {', '.join(left_out)}: a resumed run starts over "
                "with it. In callbacks, keep numbers, texts, arrays, lists or dicts."
            )

    def _left_out(self) -> list[str]:
        drawn = [
            f"the place of {one} in the training step (use keras.random with a SeedGenerator)"
            for one in self._distributed.loop.unrepeatable
        ]
        return self._states.left_out() + drawn

    def take(self, done: int) -> Snapshot:
        """What the training is now; it may go on while that is written.

        Args:
            done: batches of the epoch that are over.

        Raises:
            SharedFailure: it is none to go on from.
        """
        self._require_sound()
        distributed = self._distributed
        arrays = distributed.state.read()
        weights = {name: arrays.pop(name) for name in list(arrays) if name.startswith(WEIGHTS)}
        said, kept = self._states.read()
        step = distributed.step
        facts: dict[str, Json] = {
            "step": step,
            "epoch": (step - done) // self.steps_per_epoch,
            "batches_of_epoch": done,
            "logs": {name: np.asarray(one).tolist() for name, one in distributed.last_logs.items()},
            "callbacks": said,
            "bucket_bytes": self.prepared.buckets.size_bytes,
            "workers": self._job.cluster.num_workers,
            "replicas": self._job.strategy.num_replicas_in_sync,
            "global_batch": self._job.config.batch_size,
            "seed": self._job.config.seed,
            "data_checksum": self.prepared.data.training.checksum,
            "versions": versions(),
            "written": time.time(),
        }
        rest = arrays | kept | _random_states()
        return Snapshot({WEIGHTS_FILE: weights, STATE_FILE: rest}, facts)

    def put_back(self, checkpoint: Checkpoint | Snapshot | None) -> tuple[Resumed, list[str]]:
        """Makes the training what it was.

        Args:
            checkpoint: on the chief, which tells the others.

        Returns:
            Where it resumes, and the callbacks that start over.

        Raises:
            ConfigError: it is that of another model.
        """
        facts, arrays = self._told(checkpoint)
        distributed = self._distributed
        distributed.state.write(arrays)
        anew = self._states.write(facts["callbacks"], arrays)
        _set_random_states(arrays)
        distributed.step = facts["step"]
        distributed.last_logs = {
            name: np.asarray(one) if isinstance(one, list) else one
            for name, one in facts["logs"].items()
        }
        self.prepared.data.training.seek(distributed.step)
        return Resumed(done=facts["batches_of_epoch"], taken=distributed.step), anew

    def _told(
        self, checkpoint: Checkpoint | Snapshot | None
    ) -> tuple[dict[str, Json], dict[str, np.ndarray]]:
        """What the chief has read, on every worker, whether or not it sees the chief's files."""
        carrier = self._distributed.carrier
        if carrier.num_workers == 1 and checkpoint is not None:
            return dict(checkpoint.facts), checkpoint.arrays()
        arrays = {} if checkpoint is None else checkpoint.arrays()
        said = None if checkpoint is None else json.dumps(dict(checkpoint.facts)).encode()
        told: dict[str, Json] = json.loads(carrier.from_chief(said))
        groups = _groups(arrays)
        found: dict[str, np.ndarray] = {}
        count = self._job.board.broadcast("resumed arrays", str(len(groups)))
        for _ in range(int(count)):
            data = save(groups.pop(0)) if checkpoint is not None else None
            found |= load(carrier.from_chief(data))
        return told, found


def _groups(arrays: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Arrays in some packs of about one size."""
    groups: list[dict[str, np.ndarray]] = []
    size = _GROUP_BYTES
    for name, array in arrays.items():
        if size + array.nbytes > _GROUP_BYTES:
            groups.append({})
            size = 0
        groups[-1][name] = array
        size += array.nbytes
    return groups


def _random_states() -> dict[str, np.ndarray]:
    """Of Python's and NumPy's generators, which callbacks and metrics of a user's may draw from."""
    version, words, gauss = random.getstate()
    _, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        _PYTHON: np.asarray([version, *words], np.uint32),
        f"{_PYTHON}/gauss": np.asarray([gauss is not None, gauss or 0.0], np.float64),
        _NUMPY: np.append(np.asarray(keys, np.uint32), np.uint32(place)),
        f"{_NUMPY}/gauss": np.asarray([has_gauss, cached], np.float64),
    }


def _set_random_states(arrays: dict[str, np.ndarray]) -> None:
    """Sets both to what `_random_states` gave."""
    words, (has_gauss, gauss) = arrays[_PYTHON].tolist(), arrays[f"{_PYTHON}/gauss"].tolist()
    random.setstate((words[0], tuple(words[1:]), gauss if has_gauss else None))
    keys, (has_gauss, gauss) = arrays[_NUMPY], arrays[f"{_NUMPY}/gauss"].tolist()
    np.random.set_state(("MT19937", keys[:-1].copy(), int(keys[-1]), int(has_gauss), gauss))
