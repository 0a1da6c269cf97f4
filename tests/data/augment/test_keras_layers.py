"""A layer of Keras's draws by the example's seed, or is refused by its name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfscale.data.augment.keras_layers import apply_layer
from tfscale.data.sources.determinism import require_no_draws
from tfscale.errors import ConfigError

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
SEEDS = np.random.default_rng(1).integers(0, 2**31, (12, 2)).astype(np.int32)
LAYERS = {
    "RandomFlip": {},
    "RandomCrop": {"height": 20, "width": 20},
    "RandomRotation": {"factor": 0.2},
    "RandomZoom": {"height_factor": 0.3},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3},
    "RandomShear": {"x_factor": 0.3, "y_factor": 0.3},
    "RandomPerspective": {"factor": 0.9, "scale": 0.5},
    "RandomElasticTransform": {"factor": 0.9},
    "RandomBrightness": {"factor": 0.3},
    "RandomContrast": {"factor": 0.3},
    "RandomSaturation": {"factor": 0.7},
    "RandomHue": {"factor": 0.3},
    "RandomSharpness": {"factor": 0.5},
    "RandomGrayscale": {"factor": 0.5},
    "RandomColorDegeneration": {"factor": 0.9},
    "RandomPosterization": {"factor": 4},
    "RandomInvert": {"factor": 0.5},
    "RandomGaussianBlur": {"factor": 0.9},
    "RandomErasing": {"factor": 0.9},
    "Solarization": {"addition_factor": 0.5, "threshold_factor": 0.5},
}
OF_LAYERS = {
    "RandAugment": {},
    "AugMix": {},
    "RandomColorJitter": {"value_range": (0, 255), "brightness_factor": 0.5},
}


def _layer(name, arguments):
    return getattr(layers, name)(**arguments, seed=1)


def test_every_random_image_layer_of_keras_is_known():
    kind = layers.RandomFlip.__mro__[1]
    of_images = {
        name
        for name, layer in vars(layers).items()
        if isinstance(layer, type) and issubclass(layer, kind)
    }
    never_draw = {"CenterCrop", "Resizing", "AutoContrast", "Equalization", "MaxNumBoundingBoxes"}
    never_draw |= {"CLAHE", "ContrastLimitedAdaptiveHistogramEqualization"}
    assert of_images - never_draw == {*LAYERS, *OF_LAYERS, "MixUp", "CutMix"}


@pytest.mark.parametrize(("name", "arguments"), LAYERS.items(), ids=LAYERS)
def test_a_layer_draws_by_the_seed_alone_and_leaves_its_own_generator(name, arguments):
    layer = _layer(name, arguments)
    before = layer.generator.state.numpy()
    data = tf.data.Dataset.from_tensor_slices
    traced = tf.function(lambda seed: apply_layer(layer, IMAGE, seed))
    made = data(SEEDS).map(traced, num_parallel_calls=4)
    require_no_draws("mine", made)
    first = np.stack(list(made.as_numpy_iterator()))
    again = data(SEEDS[::-1]).map(traced)
    np.testing.assert_array_equal(first, np.stack(list(again.as_numpy_iterator()))[::-1])
    assert first.dtype == np.uint8
    assert len({image.tobytes() for image in first}) > 1
    np.testing.assert_array_equal(layer.generator.state.numpy(), before)


def test_what_is_made_is_what_the_layer_makes():
    layer = layers.RandomBrightness((0.5, 0.5))
    made = apply_layer(layer, IMAGE, SEEDS[0])
    np.testing.assert_array_equal(made, layer(IMAGE * 1.0, training=True).numpy().round())
    half = apply_layer(layer, tf.cast(IMAGE, tf.float16), SEEDS[0])
    assert half.dtype == tf.float16


def test_two_kinds_of_layers_may_share_a_seed():
    image = tf.constant([[[200.0, 90.0, 20.0]]])
    grey, invert = layers.RandomGrayscale(0.5), layers.RandomInvert(0.5)
    seeds = np.random.default_rng(2).integers(0, 2**31, (60, 2)).astype(np.int32)
    happened = [
        tuple(
            bool(tf.reduce_any(apply_layer(layer, image, seed) != image))
            for layer in (grey, invert)
        )
        for seed in seeds
    ]
    assert min(happened.count((a, b)) for a in (False, True) for b in (False, True)) >= 5


@pytest.mark.parametrize(("name", "arguments"), OF_LAYERS.items(), ids=OF_LAYERS)
def test_a_layer_of_layers_is_refused_because_it_ignores_the_seed(name, arguments):
    with pytest.raises(ConfigError, match=f"{name}, which is made of layers .* rand_augment"):
        apply_layer(_layer(name, arguments), IMAGE, SEEDS[0])


def test_what_keras_would_have_to_change_before_rand_augment_of_keras_could_be_used():
    layer = layers.RandAugment(seed=1)

    class Fixed(keras.random.SeedGenerator):
        def next(self, ordered=True):
            return tf.constant([1, 2])

    fixed = Fixed(0)
    first, second = (
        layer.get_random_transformation(IMAGE, training=True, seed=fixed)["layer_idxes"].numpy()
        for _ in range(2)
    )
    assert (first != second).any()  # the seed isn't looked at


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (layers.Dense(2), "Dense, which is no image layer"),
        (layers.MixUp(), "MixUp, which needs a batch"),
    ],
)
def test_what_is_no_layer_for_an_image_is_refused(layer, words):
    with pytest.raises(ConfigError, match=words):
        apply_layer(layer, IMAGE, SEEDS[0])
