import keras
import numpy as np
import tensorflow as tf

from tfscale.fit.keras.layers import tables_of


def _model(words, edges):
    looked_up = keras.layers.StringLookup(vocabulary=words)
    binned = keras.layers.Discretization(num_bins=3)
    binned.adapt(np.asarray(edges, np.float32))
    text, number = keras.Input((1,), dtype="string"), keras.Input((1,))
    return keras.Model(
        [text, number],
        [keras.layers.Embedding(9, 2)(looked_up(text)), binned(number)],
    )


def test_tables_that_layers_have_learned_tell_models_of_the_same_shapes_from_each_other():
    with tf.device("CPU:0"):
        same = [tables_of(_model(["a", "b"], range(9))) for _ in range(2)]
        other_words = tables_of(_model(["a", "c"], range(9)))
        other_edges = tables_of(_model(["a", "b"], range(1, 10)))
    assert same[0] == same[1]
    assert len(same[0]) == 2
    assert [a == b for a, b in zip(same[0], other_words, strict=True)] == [False, True]
    assert [a == b for a, b in zip(same[0], other_edges, strict=True)] == [True, False]
