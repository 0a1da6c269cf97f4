"""A GRU for datasets/series.py: a window of a series in, the values that follow out."""

import keras
import tensorflow as tf
from keras import layers

units = 32


def build(spec: tf.TensorSpec, horizon: int) -> keras.Model:
    """Give (horizon,) values for a window (history, variables)."""
    return keras.Sequential(
        [keras.Input(spec.shape), layers.GRU(units), layers.Dense(horizon, dtype="float32")]
    )
