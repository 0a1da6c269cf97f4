"""A model made from its configuration, without memory for its weights."""

from collections.abc import Mapping

import keras

from tfscale.fit.keras.seams import global_state
from tfscale.structures import Json

_WAITING = "uninitialized_variables"  # what Keras makes as soon as any later scope ends


def unallocated_model(layers: Mapping[str, Json]) -> keras.Model:
    """Makes a model whose variables have shapes and no values.

    Keras keeps what a `StatelessScope` leaves without values in a list of the whole process, and
    gives it values when the next one ends: in the middle of building another model, with a
    broadcast to all workers that only this one would take part in. So they are taken off it.

    Args:
        layers: what `serialize_keras_object` gave, without how to compile it.

    Raises:
        Exception: whatever Keras or a layer raises that can't be made so.
    """
    waiting = global_state.get_global_attribute(_WAITING)
    global_state.set_global_attribute(_WAITING, [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            made: keras.Model = keras.saving.deserialize_keras_object(dict(layers))
        return made
    finally:
        global_state.set_global_attribute(_WAITING, waiting)
