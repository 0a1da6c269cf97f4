"""A model whose steps are as long as the environment says, so that there is something to stop."""

PACED = """
import os, time
import keras

class Pause(keras.callbacks.Callback):
    everywhere = True
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(float(os.environ.get("PAUSE_SECONDS", "0")))

def build(spec, num_classes):
    flat = [keras.Input(spec.shape), keras.layers.Flatten()]
    return keras.Sequential([*flat, keras.layers.Dense(num_classes)])

def callbacks():
    return [Pause()]
"""
