import keras
import tensorflow as tf

from tfscale.fit.keras.losses import output_losses_weighted


def _shown_of_a_step(*, weighted):
    """The loss that is shown of an output after batches of three rows and of one.

    The squares of the first are 1, that of the second is 5: the mean over rows is 2.
    """
    x = keras.Input((1,))
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in ("one", "two")}
    model = keras.Model(x, outputs)
    model.compile("sgd", dict.fromkeys(outputs, "mse"))
    model._symbolic_build(data_batch=(tf.zeros([2, 1]), dict.fromkeys(outputs, tf.zeros([2, 1]))))
    model.reset_metrics()

    @tf.function(input_signature=[tf.TensorSpec([None, 1])], autograph=False)
    def step(rows):
        both = dict.fromkeys(outputs, rows)
        if not weighted:
            return model.compute_loss(rows, tf.nest.map_structure(tf.zeros_like, both), both)
        with output_losses_weighted(model, tf.shape(rows)[0]):
            return model.compute_loss(rows, tf.nest.map_structure(tf.zeros_like, both), both)

    step(tf.ones([3, 1]))
    step(tf.constant([[5.0**0.5]]))
    return round(float(model._compile_loss.metrics[0].result()), 5)


def test_a_loss_is_the_mean_over_rows():
    assert _shown_of_a_step(weighted=True) == 2.0


def test_keras_still_counts_a_batch_of_one_row_as_much_as_a_full_one():
    # When this fails, output_losses_weighted can go.
    assert _shown_of_a_step(weighted=False) == 3.0
