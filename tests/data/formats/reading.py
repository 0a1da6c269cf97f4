"""Records of a collection as the pipeline gets them: read in a traced function, then mapped."""

import tensorflow as tf


def read_all(collection, order=None):
    """All records, or those of some numbers, as NumPy."""
    numbers = list(range(collection.num_records)) if order is None else order

    def mapped(record):
        for function in collection.functions:
            record = function(record)
        return record

    stacked = tf.data.Dataset.from_tensors(tf.constant(numbers, tf.int64)).map(collection.read)
    tf.nest.map_structure(_require_fits, stacked.element_spec, collection.spec)
    return list(stacked.unbatch().map(mapped).as_numpy_iterator())


def _require_fits(stacked, one):
    assert stacked.dtype == one.dtype
    assert stacked.shape[1:].as_list() == one.shape.as_list()
