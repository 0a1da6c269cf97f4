"""Two towers for datasets/ratings.py: a vector for each user and each item, and their product."""

import keras
from keras import layers

size = 32  # numbers of a vector


def build(num_users: int, num_items: int, mean_rating: float) -> keras.Model:
    """Give a rating for `{"user": number, "item": number}`."""
    towers, biases, inputs = [], [], {}
    for name, count in (("user", num_users), ("item", num_items)):
        inputs[name] = keras.Input((), dtype="int64", name=name)
        towers.append(layers.Embedding(count, size)(inputs[name]))
        biases.append(layers.Embedding(count, 1, embeddings_initializer="zeros")(inputs[name]))
    product = layers.Dot(axes=1)(towers)
    start = keras.initializers.Constant(mean_rating)
    rating = layers.Dense(1, bias_initializer=start, dtype="float32")
    return keras.Model(inputs, rating(layers.Add()([product, *biases])))
