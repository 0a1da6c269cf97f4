"""What a training's variables begin with: the chief's values, on every worker.

Workers make their variables apart, which with one seed gives all of them the same. What is other
all the same, because an initializer draws from elsewhere, is sent; it is rarely anything.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfscale.fit.state.byte_broadcast import Carrier
from tfscale.model.model_facts import checksum, uncounted
from tfscale.startup.board import Board
from tfscale.startup.strategy import Made
from tfscale.structures import Foreign, Json


def made_facts(made: Sequence[Made]) -> dict[str, Json]:
    """Of all variables that a worker has made, the model's and others, in their order."""
    told = [
        f"{uncounted(one.variable.name.partition(':')[0])} {one.variable.dtype.name} "
        f"{tuple(one.variable.shape)}"
        for one in made
    ]
    return {"the variables that are made": told}


@dataclass(frozen=True)
class Value:
    """What a variable begins with on this worker, before any is sent.

    Args:
        variable: of one device.
        checksum: of the value.
        is_as_made: whether it is the one that the variable was made with.
    """

    variable: Foreign
    checksum: str
    is_as_made: bool

    def __str__(self) -> str:
        """What workers compare: what nobody has set is the chief's on all of them."""
        return "as made" if self.is_as_made else self.checksum


def values_of(made: Sequence[Made]) -> list[Value]:
    """Of the variables that this worker has made, in their order."""
    found = []
    for one in made:
        now, first = (checksum(np.asarray(x.numpy())) for x in (one.variable, one.first_value))
        found.append(Value(one.variable, f"{now:08x}", now == first))
    return found


def send(values: Sequence[Value], board: Board, carrier: Carrier, *, but: Collection[int]) -> None:
    """Gives the chief's values to all workers where theirs are other ones.

    Args:
        values: of the same variables on every worker.
        board: over which workers compare them.
        carrier: of values.
        but: ids of those variables whose values each replica has for itself.
    """
    shared = [one for one in values if id(one.variable) not in but]
    own = [one.checksum for one in shared]
    chiefs: list[str] = json.loads(board.broadcast("first values", json.dumps(own)))
    others = [number for number, value in enumerate(own) if value != chiefs[number]]
    everybody = board.all_gather("other first values", json.dumps(others))
    for number in sorted({number for theirs in everybody for number in json.loads(theirs)}):
        _send(shared[number].variable, carrier)


def _send(variable: Foreign, carrier: Carrier) -> None:
    value = tf.io.serialize_tensor(variable).numpy() if carrier.worker == 0 else None
    variable.assign(tf.io.parse_tensor(carrier.from_chief(value), variable.dtype))
