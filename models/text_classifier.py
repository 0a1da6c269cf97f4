"""A bag of word vectors for datasets/csv_texts.py: texts in, logits out."""

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import layers

length, size = 200, 64  # words of a text that are read, and numbers that stand for each


def build(spec: tf.TensorSpec, vocabulary: Sequence[str], num_classes: int) -> keras.Model:
    """Give logits for a text; the vocabulary is what the dataset file has learned."""
    del spec  # a text, whatever it says
    inputs = keras.Input((), dtype="string")
    words = layers.TextVectorization(output_sequence_length=length, vocabulary=list(vocabulary))
    x = layers.Embedding(words.vocabulary_size(), size, mask_zero=True)(words(inputs))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, layers.Dense(num_classes, dtype="float32")(x))
