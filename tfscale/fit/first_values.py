"""What a training's variables begin with: the chief's values, on every worker.

Workers make their variables apart, which with one seed gives all of them the same. What is other
all the same, because an initializer draws from elsewhere, is sent; it is rarely anything.
"""

import json
from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf

from tfscale.fit.carrier import Carrier
from tfscale.model.comparable import checksum, uncounted
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


def are_as_made(made: Sequence[Made]) -> set[int]:
    """Ids of the variables that have the value that they were made with."""
    return {id(one.variable) for one in made if _is_as_made(one)}


def _is_as_made(one: Made) -> bool:
    now, first = (np.asarray(value) for value in (one.variable.numpy(), one.first_value.numpy()))
    if now.dtype == object:  # texts
        return bool(np.array_equal(now, first))
    return now.tobytes() == first.tobytes()


def send(made: Sequence[Made], board: Board, carrier: Carrier, *, but: Collection[int]) -> None:
    """Gives the chief's values to all workers where theirs are other ones.

    Args:
        made: variables, the same ones on every worker.
        board: over which workers compare them.
        carrier: of values.
        but: ids of those whose values each replica has for itself.
    """
    shared = [one.variable for one in made if id(one.variable) not in but]
    own = [f"{checksum(variable.numpy()):08x}" for variable in shared]
    chiefs: list[str] = json.loads(board.broadcast("first values", json.dumps(own)))
    others = [number for number, value in enumerate(own) if value != chiefs[number]]
    everybody = board.all_gather("other first values", json.dumps(others))
    for number in sorted({number for theirs in everybody for number in json.loads(theirs)}):
        _send(shared[number], carrier)


def _send(variable: Foreign, carrier: Carrier) -> None:
    value = tf.io.serialize_tensor(variable).numpy() if carrier.worker == 0 else None
    variable.assign(tf.io.parse_tensor(carrier.from_chief(value), variable.dtype))
