import keras

from tfscale.fit.keras import monitor_direction


def test_keras_still_decides_what_is_better_at_the_end_of_the_first_epoch():
    # When this fails, `decide` has nothing left to do.
    callback = keras.callbacks.EarlyStopping("loss", patience=1)
    callback.set_model(keras.Sequential([keras.layers.Dense(1)]))
    callback.on_train_begin()
    assert monitor_direction.watches(callback)
    assert not monitor_direction.has_decided(callback)
