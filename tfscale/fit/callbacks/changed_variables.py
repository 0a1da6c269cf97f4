"""Variables that the chief alone has assigned, on their way to every replica."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.model.model_facts import RANDOM_STATE
from tfscale.structures import Foreign, Json

_FEW = 64  # elements that are told in words, such as a learning rate at every step


class ChangedVariables:
    """Knows the variables of a model and its optimizer by numbers that all workers have.

    Args:
        strategy: whose replicas hold the variables.
        model: compiled and built.
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: keras.Model) -> None:
        self._strategy = strategy
        self._model = model
        self._sums: dict[tuple[str, ...], Foreign] = {}

    def as_json(self, assigned: Sequence[Foreign], names: str) -> dict[str, Json]:
        """The values of variables by their numbers; None for what is too long for words.

        Args:
            assigned: as TensorFlow knows them, in any order and more than once.
            names: of the callbacks that did it.

        Raises:
            ConfigError: one is not the model's or its optimizer's: other workers don't know it.
        """
        if not assigned:
            return {}
        known = self._known()
        numbers = {id(variable.value): number for number, variable in known.items()}
        unknown = [variable.name for variable in assigned if id(variable) not in numbers]
        if unknown:
            raise ConfigError(
                f"{names} changes the variable {unknown[0]}, which is neither the model's nor its "
                "optimizer's, on the chief alone; expected a callback that runs everywhere. Give "
                "it the attribute everywhere = True."
            )
        chosen = sorted({numbers[id(variable)] for variable in assigned}, key=int)
        return {
            number: self._in_words(known[number])
            for number in chosen
            if known[number].name != RANDOM_STATE
        }

    def share(self, values: dict[str, Json]) -> None:
        """Gives every replica the chief's values; called on every worker with the same."""
        known = self._known() if values else {}
        for number, value in values.items():
            if value is not None:
                self._assign(known[number], tf.reshape(tf.constant(value), known[number].shape))
        numbers = tuple(number for number, value in values.items() if value is None)
        if numbers:
            for number, value in zip(numbers, self._from_chief(numbers, known), strict=True):
                self._assign(known[number], value)

    def _known(self) -> dict[str, keras.Variable]:
        found = (*self._model.variables, *self._model.optimizer.variables)
        return {str(number): variable for number, variable in enumerate(found)}

    def _in_words(self, variable: keras.Variable) -> Json:
        if tf.TensorShape(variable.shape).num_elements() > _FEW:
            return None
        value = tf.convert_to_tensor(self._components(variable)[0])
        exact = tf.float64 if value.dtype.is_floating else tf.int64
        return tf.reshape(tf.cast(value, exact), [-1]).numpy().tolist()

    def _components(self, variable: keras.Variable) -> Sequence[Foreign]:
        found: Sequence[Foreign] = self._strategy.experimental_local_results(variable.value)
        return found

    def _assign(self, variable: keras.Variable, value: tf.Tensor) -> None:
        for component in self._components(variable):
            component.assign(tf.cast(value, component.dtype))

    def _from_chief(
        self, numbers: tuple[str, ...], known: dict[str, keras.Variable]
    ) -> list[tf.Tensor]:
        """What the chief's first replica has, by a sum in which the others have nothing."""

        def on_replica() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            is_first = tf.equal(context.replica_id_in_sync_group, 0)
            sums = []
            for number in numbers:
                own = tf.convert_to_tensor(known[number].value)
                sent = own if own.dtype.is_floating else tf.cast(own, tf.int64)
                sent = tf.where(is_first, sent, tf.zeros_like(sent))
                sums.append(context.all_reduce(tf.distribute.ReduceOp.SUM, sent))
            return sums

        if numbers not in self._sums:
            self._sums[numbers] = tf.function(
                lambda: self._strategy.run(on_replica), autograph=False
            )
        summed = self._sums[numbers]()
        return [self._strategy.experimental_local_results(value)[0] for value in summed]
