"""Keras's layers for images, with each example's own seed in place of the numbers they count.

A layer keeps a `SeedGenerator`, a variable that moves on with every call: which example gets which
number then depends on which thread came first. The simple layers take another generator for one
call, and this is one without a variable.
"""

import keras
import tensorflow as tf

from tfscale.data.augment.draws import derived
from tfscale.data.augment.pixels import require_image, rounded
from tfscale.errors import ConfigError


class _OwnSeeds(keras.random.SeedGenerator):
    """Seeds that one seed decides, by how many were asked for before.

    What Keras makes in its own constructor, the variable, isn't made here.
    """

    def __init__(self, seed: tf.Tensor) -> None:
        self._own_seed = seed
        self.num_drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        del ordered
        self.num_drawn += 1
        return derived(self._own_seed, f"keras {self.num_drawn}")


@tf.autograph.experimental.do_not_convert
def apply_layer(layer: keras.layers.Layer, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """What a layer of Keras makes of an image in training, by this seed alone.

    For the layers that take the seed of one call: RandomRotation, RandomZoom, RandomTranslation,
    RandomShear, RandomPerspective, RandomElasticTransform, RandomCrop, RandomFlip,
    RandomBrightness, RandomContrast, RandomSaturation, RandomHue, RandomSharpness,
    RandomGrayscale, RandomColorDegeneration, RandomPosterization, RandomInvert,
    RandomGaussianBlur, RandomErasing and Solarization. Make the layer outside of `preprocess`.

    Args:
        layer: an image layer of `keras.layers`.
        image: (height, width, channels), uint8 or floats; in the layer's `value_range`, if it has
            one.
        seed: int32 (2,). Two layers of one kind need two seeds.

    Returns:
        The changed image in the dtype of the image.

    Raises:
        ConfigError: the layer is no such layer, or is one that draws from generators of its own
            nevertheless: RandAugment, AugMix and RandomColorJitter do.
    """
    image = require_image(image, "apply_layer")
    _require_usable(layer)
    # A layer's name keeps the numbers of two kinds apart.
    seeds = _OwnSeeds(derived(seed, type(layer).__name__))
    images = tf.cast(image, layer.compute_dtype)[tf.newaxis]
    transformation = layer.get_random_transformation(images, training=True, seed=seeds)
    changed = layer.transform_images(images, transformation, training=True)[0]
    return rounded(tf.cast(changed, tf.float32), image.dtype)


def _require_usable(layer: keras.layers.Layer) -> None:
    name = type(layer).__name__
    if not hasattr(layer, "get_random_transformation"):
        reason = "is no image layer"
    elif isinstance(layer, keras.layers.MixUp | keras.layers.CutMix):
        reason = "needs a batch; tfscale.data.augment.mixing has functions for that"
    elif any(isinstance(part, keras.layers.Layer) for part in vars(layer).values()):
        reason = (
            "is made of layers that draw from generators of their own, whatever seed is given; "
            "tfscale.data.augment has rand_augment and colour_jitter"
        )
    else:
        return
    raise ConfigError(
        f"apply_layer got {name}, which {reason}; expected a single image layer of Keras's, such "
        "as keras.layers.RandomRotation(0.1)."
    )
