"""All that training steps change: weights, optimizers, metrics, random states, and what got lost.

Most of it is the same on every replica, and the chief's is read. Metrics, random states and the
residuals of a lossy wire are each replica's own, and those of all replicas are brought together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.metrics.metric_totals import MetricTotals
from tfscale.fit.state.byte_broadcast import Carrier
from tfscale.fit.state.replica_state import random_state_of
from tfscale.model.model_facts import uncounted
from tfscale.structures import Foreign

DealOut = Callable[[np.ndarray, int], list[np.ndarray]]

_OWN = "replica"  # names of what is a replica's own begin with it: replica/NUMBER/KIND/...
WEIGHTS = "model"  # and those of what plain Keras has too begin with it


class TrainingState:
    """Reads and writes what training steps change, between two steps, on all workers at once.

    Args:
        strategy: whose replicas hold it.
        carrier: between its workers.
        model: compiled and built.
        optimizers: that a step updates with, built.
        own: the variables of which each replica has its own, by what they are; and what gives, for
            one of them, how its values are dealt out to another number of replicas.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        carrier: Carrier,
        model: keras.Model,
        *,
        optimizers: Sequence[keras.optimizers.Optimizer],
        own: Mapping[str, tuple[Sequence[Foreign], Callable[[Foreign], DealOut]]],
    ) -> None:
        self._strategy = strategy
        self._carrier = carrier
        self._shared: dict[str, Foreign] = {}
        self._own: dict[str, Foreign] = {}
        self._deal_out: dict[str, DealOut] = {}
        self._known: set[int] = set()
        for kind, (variables, how) in own.items():
            self._add_own(kind, variables, how)
        self._add_shared(WEIGHTS, model.weights)
        self._add_shared("state", model.variables)
        for number, optimizer in enumerate(optimizers):
            self._add_shared(f"optimizer-{number}", optimizer.variables)

    @property
    def names(self) -> list[str]:
        """Of all of it, the same on every worker."""
        return [*self._shared, *self._own]

    @property
    def shared(self) -> Mapping[str, Foreign]:
        """The variables that are the same on every replica between two steps, by their names."""
        return self._shared

    @property
    def own_components(self) -> list[Foreign]:
        """The variables of this worker's devices whose values each replica has for itself."""
        return [one for each in self._own.values() for one in _components(self._strategy, each)]

    def components(self) -> list[Foreign]:
        """The variables of this worker's devices themselves, of all local replicas."""
        shared = [
            one for each in self._shared.values() for one in _components(self._strategy, each)
        ]
        return shared + self.own_components

    def read(self) -> dict[str, np.ndarray]:
        """Every array by its name; on the chief it is all of them. They don't change any more.

        Arrays of a CPU are not copied: TensorFlow writes a variable's next value elsewhere while
        somebody holds this one.
        """
        found = {name: _first(self._strategy, one) for name, one in self._shared.items()}
        own = [self._of_replica(number) for number in range(self._local_replicas)]
        joined = [b"".join(array.tobytes() for array in arrays) for arrays in own]
        for replica, data in enumerate(self._carrier.of_all_replicas(joined)):
            place = 0
            for name, like in zip(self._own, own[0], strict=True):
                part = np.frombuffer(data, like.dtype, like.size, place).reshape(like.shape)
                found[f"{_OWN}/{replica}/{name}"] = part
                place += like.nbytes
        return found

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Makes all of it what was read, on any number of replicas.

        Args:
            arrays: what `read` gave on the chief, the same on every worker.

        Raises:
            ConfigError: they are those of another model.
        """
        replicas = 1 + max(
            (int(name.split("/")[1]) for name in arrays if name.startswith(f"{_OWN}/")), default=0
        )
        self._require(arrays)
        for name, variable in self._shared.items():
            for component in _components(self._strategy, variable):
                component.assign(tf.constant(arrays[name], component.dtype))
        for name, variable in self._own.items():
            rows = [arrays[f"{_OWN}/{replica}/{name}"] for replica in range(replicas)]
            self._write_own(name, variable, rows)

    def _write_own(self, name: str, variable: Foreign, rows: Sequence[np.ndarray]) -> None:
        replicas = self._strategy.num_replicas_in_sync
        if len(rows) != replicas:
            rows = self._deal_out[name](np.stack(rows), replicas)
        first = self._carrier.worker * self._local_replicas
        for number, component in enumerate(_components(self._strategy, variable)):
            component.assign(tf.constant(rows[first + number], component.dtype))

    def _require(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Refuses before anything is written what would fit half."""
        expected = {name: tuple(variable.shape) for name, variable in self._shared.items()}
        expected |= {f"{_OWN}/0/{name}": tuple(one.shape) for name, one in self._own.items()}
        found = {name: array.shape for name, array in arrays.items()}
        for name, shape in expected.items():
            if found.get(name) != shape:
                came = f"shape {found[name]}" if name in found else "nothing of that name"
                raise ConfigError(
                    f"The checkpoint has {came} for {name}, which has shape {shape} in this run; "
                    "expected the model that it was written for. Use the same model file, or "
                    "--overwrite to start over."
                )

    def _add_shared(self, kind: str, variables: Iterable[Foreign]) -> None:
        for number, variable in enumerate(variables):
            if self._is_new(variable):
                name = uncounted(variable.path, within=kind.startswith("optimizer"))
                self._shared[f"{kind}/{number:04d}/{name}"] = variable

    def _add_own(
        self,
        kind: str,
        variables: Iterable[Foreign],
        how: Callable[[Foreign], DealOut],
    ) -> None:
        for number, variable in enumerate(variables):
            if self._is_new(variable):
                name = f"{kind}/{number:04d}/{uncounted(variable.name)}"
                self._own[name], self._deal_out[name] = variable, how(variable)

    def _is_new(self, variable: Foreign) -> bool:
        is_new = id(variable) not in self._known
        self._known.add(id(variable))
        return is_new

    @property
    def _local_replicas(self) -> int:
        return int(self._strategy.num_replicas_in_sync) // self._carrier.num_workers

    def _of_replica(self, number: int) -> list[np.ndarray]:
        return [
            _host(_components(self._strategy, variable)[number]) for variable in self._own.values()
        ]


def own_variables(
    totals: MetricTotals, random: Sequence[Foreign], residuals: Sequence[Sequence[Foreign]]
) -> dict[str, tuple[Sequence[Foreign], Callable[[Foreign], DealOut]]]:
    """The variables of which each replica has its own, as `TrainingState` takes them.

    Args:
        totals: of metrics.
        random: states of generators.
        residuals: what a lossy wire has kept back, of each optimizer.
    """
    return {
        "metrics": (totals.variables, totals.dealt_out),
        "random": (random, lambda _: random_state_of),
        **{f"residuals-{n}": (kept, lambda _: shares) for n, kept in enumerate(residuals)},
    }


def shares(rows: np.ndarray, replicas: int) -> list[np.ndarray]:
    """What was lost of a sum, dealt out evenly: the next sums get all of it.

    Args:
        rows: of each replica that there was, its first axis.
        replicas: that there are now.
    """
    share: np.ndarray = rows.sum(axis=0) / replicas
    return [share] * replicas


def _components(strategy: tf.distribute.Strategy, variable: Foreign) -> Sequence[Foreign]:
    value = variable.value if isinstance(variable, keras.Variable) else variable
    found: Sequence[Foreign] = strategy.experimental_local_results(value)
    return found


def _first(strategy: tf.distribute.Strategy, variable: Foreign) -> np.ndarray:
    return _host(_components(strategy, variable)[0])


def _host(component: Foreign) -> np.ndarray:
    """What a variable of one device is now, without a copy where its memory can be looked at."""
    value = tf.convert_to_tensor(component)
    try:
        return np.asarray(memoryview(value))
    except (TypeError, ValueError, BufferError):  # of a dtype that Python has no name for
        array: np.ndarray = value.numpy()
        return array
