"""In a dataset file: an example is augmented the same on any number of workers."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfscale.data.augment.images import colour_jitter, random_flip, random_resized_crop
from tfscale.data.augment.mixing import mixup
from tfscale.data.augment.rand_augment import rand_augment
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input

SIZE, BATCH, STEPS = 12, 4, 6  # two epochs
IMAGES = np.random.default_rng(0).integers(0, 256, (SIZE, 10, 10, 3), dtype=np.uint8)
TURN = layers.RandomRotation(0.1)


def _preprocess(record, training, seed):
    image, number = record
    if training:  # AutoGraph leaves this to Python, and converts none of ours
        image = random_flip(random_resized_crop(image, seed, (8, 8)), seed)
        image = TURN(rand_augment(colour_jitter(image, seed), seed), training=True)
    return image, tf.one_hot(number, SIZE)


def _batches(workers):
    """The global batch of each step."""
    load = SimpleNamespace(
        __name__="mine",
        load=lambda split: tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(SIZE))),
        preprocess=_preprocess,
    )
    file = read_dataset_file(load)
    parts = []
    for worker in range(workers):
        sharding = Sharding(BATCH, workers, worker, 1)
        data = training_input(
            file,
            source_of(file, "train"),
            sharding,
            tf.distribute.get_strategy(),
            seed=3,
            steps_per_epoch=SIZE // BATCH,
        )
        batches = iter(data.make(0))
        parts.append([next(batches) for _ in range(STEPS)])
    return parts


def test_an_example_is_augmented_and_mixed_the_same_on_any_number_of_workers():
    (alone,) = _batches(1)
    images = np.concatenate([x for x, _ in alone])
    assert len({image.tobytes() for image in images}) == STEPS * BATCH
    for step, together in enumerate(zip(*_batches(2), strict=True)):
        for plain, split in zip(alone[step], zip(*together, strict=True), strict=True):
            np.testing.assert_array_equal(plain, np.concatenate(split))
        mixed = [mixup(x, y, [3, step], 1.0) for x, y in (alone[step], *together)]
        for plain, *split in zip(*mixed, strict=True):
            np.testing.assert_array_equal(plain, np.concatenate(split))
        with pytest.raises(AssertionError):
            np.testing.assert_array_equal(mixed[0][1], alone[step][1])
