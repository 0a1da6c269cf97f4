"""What scenes train on: invented images and words, and the handwritten digits."""

from types import SimpleNamespace

import numpy as np

NUM_EXAMPLES = 400
GLOBAL_BATCH = 16
RAGGED = 37  # a size that divides by nothing


def images(size=NUM_EXAMPLES, seed=0):
    """Images of four classes, float32 (size, 6, 6, 2), and their labels, int64 (size,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, size)
    images = random.normal(size=(size, 6, 6, 2)) + labels[:, None, None, None] * 0.3
    return 0.25 * images.astype("float32"), labels.astype("int64")


def image_data(*, is_validated=False):
    """The images as a dataset object with a preprocess, so that the whole pipeline is taken."""
    import tensorflow as tf

    def load(split):
        if split == "train":
            return tf.data.Dataset.from_tensor_slices(images())
        if split == "validation" and is_validated:
            return tf.data.Dataset.from_tensor_slices(images(RAGGED, seed=1))
        return None

    def preprocess(record, training):
        return record[0] * 2.0 - 0.1, record[1]

    return SimpleNamespace(load=load, preprocess=preprocess, num_classes=4)


def word_data(count):
    """Three words of `count` an example; there is no validation."""
    import tensorflow as tf

    def load(split):
        if split != "train":
            return None
        random = np.random.default_rng(5)
        words = random.integers(0, count, (NUM_EXAMPLES, 3)).astype("int64")
        return tf.data.Dataset.from_tensor_slices((words, (words.sum(1) % 4).astype("int64")))

    return SimpleNamespace(load=load, num_classes=4)


def digits():
    """1,797 images of 8 x 8, as `datasets/digits.py` gives them."""
    from datasets import digits as file

    return SimpleNamespace(load=file.load, preprocess=file.preprocess, num_classes=10)


def large_digits(side=32):
    """The digits as larger images in colour, for networks that want them so."""
    import tensorflow as tf

    small = digits()

    def preprocess(record, training):
        image, label = small.preprocess(record, training)
        return tf.image.grayscale_to_rgb(tf.image.resize(image, (side, side))), label

    return SimpleNamespace(load=small.load, preprocess=preprocess, num_classes=10)


def training_order(num_examples, steps=1):
    """Which example is where in the first steps, int64 (steps, global batch).

    A step's replicas take equal parts of its row, in the order of their ids.
    """
    import tensorflow as tf

    from tfscale.data.sharding import shuffled

    index, _ = shuffled(
        tf.range(steps * GLOBAL_BATCH, dtype=tf.int64),
        num_examples=num_examples,
        global_batch=GLOBAL_BATCH,
        seed=0,
    )
    return index.numpy().reshape(steps, GLOBAL_BATCH)
