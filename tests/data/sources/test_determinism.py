"""An example's random numbers are its own, or the spelling that draws them is refused by name."""

import random
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.determinism import require_no_draws
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError

SIZE = 12
IMAGES = np.random.default_rng(0).random((SIZE, 4, 4, 1), dtype=np.float32)
FLIP, DROPOUT = layers.RandomFlip(), layers.Dropout(0.5)
TURN = layers.RandomRotation(0.2, seed=1)
GENERATOR = tf.random.Generator.from_seed(1)
OWN_NUMPY = np.random.default_rng(0)
STRATEGY = tf.distribute.get_strategy()


def _images(split="train"):
    return tf.data.Dataset.from_tensor_slices(IMAGES)


def _file(preprocess=None, load=_images, **attributes):
    return read_dataset_file(
        SimpleNamespace(__name__="mine", load=load, preprocess=preprocess, **attributes)
    )


def _training(file, *, worker=0, workers=1, seed=0):
    sharding = Sharding(4, workers, worker, 1)
    return training_input(
        file, source_of(file, "train"), sharding, STRATEGY, seed=seed, steps_per_epoch=3
    )


def _refusal(file):
    with pytest.raises(ConfigError) as caught:
        _training(file)
    message = str(caught.value)
    assert "expected" in message
    assert "preprocess(record, training, seed)" in message
    assert "\n" not in message
    return message


@tf.function
def _in_a_function(image):
    return tf.image.random_flip_left_right(image)


DRAWS = {
    "a_generator": (lambda image: image + GENERATOR.normal([]), "RngReadAndSkip"),
    "a_candidate_sampler": (
        lambda image: (
            image
            + tf.cast(tf.random.uniform_candidate_sampler([[1]], 1, 1, True, 9)[0], tf.float32)
        ),
        "UniformCandidateSampler",
    ),
    "the_clock": (
        lambda image: image * tf.cast(tf.timestamp() % 1.0, tf.float32),
        "reads the clock with Timestamp",
    ),
    "in_a_loop": (
        lambda image: tf.map_fn(lambda row: row * tf.random.uniform([]), image),
        "RandomUniform",
    ),
    "in_a_function": (_in_a_function, "RandomUniform"),
    "keras_random": (lambda image: image + keras.random.normal([]), "Python's random|AssignVar"),
    "numpy": (lambda image: image * np.float32(np.random.rand()), "draws from numpy.random"),
    "python": (lambda image: image * random.random(), "draws from Python's random"),
    "numpy_in_python": (
        lambda image: tf.numpy_function(
            lambda a: a * np.float32(np.random.rand()), [image], tf.float32
        ),
        "gives another example each time",
    ),
    "numpy_of_its_own_in_python": (
        lambda image: tf.numpy_function(
            lambda a: a * np.float32(OWN_NUMPY.random()), [image], tf.float32
        ),
        "gives another example each time",
    ),
    "tensorflow_in_python": (
        lambda image: tf.py_function(tf.image.random_flip_up_down, [image], tf.float32),
        "gives another example each time",
    ),
}


@pytest.mark.parametrize(("draw", "named"), DRAWS.values(), ids=DRAWS)
def test_numbers_of_which_each_worker_would_draw_the_same_are_refused_by_name(draw, named):
    message = _refusal(_file(lambda record, training: (draw(record), 0)))
    assert message.startswith("mine: preprocess ")
    assert any(one in message for one in named.split("|")), message


def _drawing_functions_of_tensorflow():
    arguments = {
        "random_brightness": (0.1,),
        "random_contrast": (0.1, 0.9),
        "random_crop": ([2, 2, 1],),
        "random_hue": (0.1,),
        "random_jpeg_quality": (50, 90),
        "random_saturation": (0.1, 0.9),
    }
    names = [name for name in dir(tf.image) if name.startswith("random_")]
    return {name: (getattr(tf.image, name), arguments.get(name, ())) for name in names}


def test_every_random_function_of_images_is_found_also_one_that_comes_later():
    for name, (function, arguments) in _drawing_functions_of_tensorflow().items():
        images = tf.data.Dataset.from_tensors(tf.zeros([4, 4, 3]))
        drawn = images.map(lambda image, f=function, a=arguments: f(image, *a))
        with pytest.raises(ConfigError, match="draws random numbers"):
            require_no_draws(name, drawn)


DRAWING_LAYERS = {
    **dict.fromkeys(["RandomFlip", "RandomErasing", "RandAugment", "AugMix"], ()),
    **dict.fromkeys(["MixUp", "CutMix"], ()),
    **dict.fromkeys(["RandomRotation", "RandomZoom", "RandomBrightness", "RandomContrast"], (0.5,)),
    **dict.fromkeys(["RandomHue", "RandomSaturation", "RandomSharpness"], (0.5,)),
    **dict.fromkeys(["RandomGrayscale", "RandomColorDegeneration", "RandomInvert"], (0.5,)),
    **dict.fromkeys(["RandomGaussianBlur", "RandomElasticTransform"], (0.5,)),
    **dict.fromkeys(["RandomPerspective", "RandomTranslation", "RandomShear"], (0.5, 0.5)),
    "RandomColorJitter": ((0, 255), 0.5),
    "RandomCrop": (4, 4),
    "RandomPosterization": (4,),
    "Solarization": (0.5, 0.5),
    **dict.fromkeys(["Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"], (0.5,)),
    "AlphaDropout": (0.5,),
}


def test_every_drawing_layer_of_keras_is_found():
    images = tf.data.Dataset.from_tensors(tf.zeros([2, 8, 8, 3]))
    for name, arguments in DRAWING_LAYERS.items():
        layer = getattr(layers, name)(*arguments, seed=1)
        mixes = name in ("MixUp", "CutMix")

        def drawn(batch, layer=layer, mixes=mixes):
            batch = {"images": batch, "labels": tf.eye(2)} if mixes else batch
            return layer(batch, training=True)

        with pytest.raises(ConfigError, match=r"changes a variable with Assign|draws random"):
            require_no_draws(name, images.map(drawn))


def test_an_evaluation_is_held_to_the_same():
    def preprocess(record, training):
        return (record if training else record + GENERATOR.normal([])), 0

    file = _file(preprocess)
    _training(file)
    with pytest.raises(ConfigError, match="RngReadAndSkip"):
        evaluation_input(file, source_of(file, "train"), Sharding(4, 1, 0, 1), STRATEGY)


def test_what_is_random_in_training_alone_does_not_forbid_an_evaluation():
    def preprocess(record, training):
        return (record + GENERATOR.normal([]) if training else record), 0

    file = _file(preprocess)
    evaluation_input(file, source_of(file, "train"), Sharding(4, 1, 0, 1), STRATEGY)
    assert "RngReadAndSkip" in _refusal(file)


LOADS = {
    "map": lambda split: _images().map(lambda image: (tf.image.random_flip_up_down(image), 0)),
    "map_of_several": lambda split: _images().map(
        lambda image: (tf.image.random_flip_up_down(image), 0), num_parallel_calls=2
    ),
    "cache": lambda split: (
        _images().map(lambda image: (tf.image.random_flip_up_down(image), 0)).cache().prefetch(1)
    ),
    "stream": lambda split: (
        _images().map(lambda image: (tf.image.random_flip_up_down(image), 0)).repeat()
    ),
    "interleave": lambda split: tf.data.Dataset.range(3).interleave(
        lambda _: _images().map(lambda image: (tf.image.random_flip_up_down(image), 0))
    ),
    "layer": lambda split: _images().map(lambda image: (FLIP(image, training=True), 0)),
}


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_a_load_that_draws_is_refused_because_its_records_are_read_once_or_by_each_worker(load):
    message = _refusal(_file(load=load))
    assert message.startswith("mine: load('train') ")


def test_a_read_that_draws_is_refused():
    file = _file(
        load=lambda split: tf.data.Dataset.range(3),
        read=lambda number: _images().map(lambda image: (tf.image.random_flip_up_down(image), 0)),
    )
    assert "RandomUniform" in _refusal(file)


ALLOWED = {
    "no_draw": lambda image, training: (image * 2.0, 0),
    "one_number_for_all": lambda image, training: (
        image * tf.random.stateless_uniform([], (1, 2)),
        0,
    ),
    "keras_with_a_seed": lambda image, training: (image * keras.random.uniform([], seed=3), 0),
    "a_layer_that_does_not_train": lambda image, training: (DROPOUT(image, training=False), 0),
    "a_layer_that_never_draws": lambda image, training: (layers.Rescaling(2.0)(image), 0),
    "python": lambda image, training: (
        tf.ensure_shape(tf.numpy_function(lambda a: a * 2, [image], tf.float32), [4, 4, 1]),
        0,
    ),
    "python_with_the_seed": lambda image, training, seed: (
        tf.numpy_function(
            lambda a, own: a * np.float32(np.random.default_rng(abs(own)).random()),
            [image, seed],
            tf.float32,
        ),
        0,
    ),
    "keras_layers_of_keras": lambda image, training: (layers.CenterCrop(2, 2)(image), 0),
}


@pytest.mark.parametrize("preprocess", ALLOWED.values(), ids=ALLOWED)
def test_what_gives_every_worker_the_same_of_one_record_is_allowed(preprocess):
    batch = next(iter(_training(_file(preprocess)).make(0)))
    assert batch[0].shape[0] == 4


@pytest.mark.parametrize(
    "load",
    [
        lambda split: _images().shuffle(SIZE, seed=4).map(lambda image: (image, 0)),
        lambda split: tf.data.Dataset.zip(_images(), tf.data.Dataset.random(seed=4)),
        lambda split: tf.data.Dataset.sample_from_datasets([_images()] * 2, seed=1).map(
            lambda image: (image, 0)
        ),
    ],
)
def test_a_load_may_mix_its_records(load):
    _training(_file(load=load))


def test_records_of_a_generator_that_draws_are_no_fault_of_preprocess():
    def numbers():
        own = np.random.default_rng(0)
        np.random.rand()  # of the global generator, which nobody may count on
        return (np.float32(own.random()) for _ in range(SIZE))

    def load(split):
        signature = tf.TensorSpec([], tf.float32)
        return tf.data.Dataset.from_generator(numbers, output_signature=signature)

    def preprocess(record, training):
        return tf.ensure_shape(tf.numpy_function(lambda a: a * 2, [record], tf.float32), []), 0

    _training(_file(preprocess, load))


# The spelling that works.


def _recommended(record, training, seed):
    flipped = tf.image.stateless_random_flip_left_right(record, seed)
    return tf.image.stateless_random_brightness(flipped, 0.3, seed), record


def _numbers_of(file, steps, *, workers=1, **arguments):
    """What was added to each image: by epoch and index."""
    seen = {}
    for worker in range(workers):
        batches = iter(_training(file, worker=worker, workers=workers, **arguments).make(0))
        for step in range(steps):
            for bright, plain in zip(*map(np.array, next(batches)), strict=True):
                index = int(np.flatnonzero((IMAGES == plain).all(axis=(1, 2, 3)))[0])
                seen[step // 3, index] = round(float(bright.mean() - plain.mean()), 5)
    return seen


def test_with_the_seed_numbers_differ_between_examples_epochs_and_workers():
    seen = _numbers_of(_file(_recommended), 6, workers=2)
    assert len(seen) == 2 * SIZE
    assert len(set(seen.values())) == 2 * SIZE


@pytest.mark.parametrize("workers", [2, 4])
def test_with_the_seed_numbers_are_the_same_for_any_number_of_workers(workers):
    file = _file(_recommended)
    assert _numbers_of(file, 6, workers=workers) == _numbers_of(file, 6)
    assert _numbers_of(file, 6, seed=1) != _numbers_of(file, 6)
