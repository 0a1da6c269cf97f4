"""Images from the bytes of their files, as `preprocess` needs them: 8 bits a channel all along.

Numbers of 8 bits stay what they are until a model's arithmetic begins: batches of them are a
quarter as large as of float32 on their way to a GPU. An orientation that a camera noted in a JPEG
isn't applied, as everywhere in TensorFlow: boxes and pixels go together as they are stored.
"""

import tensorflow as tf


def decode(data: tf.Tensor, channels: int = 3) -> tf.Tensor:
    """Decodes a JPEG, PNG, BMP or GIF, told by its first bytes.

    Args:
        data: scalar text, the bytes of a file.
        channels: 3 or 1. Grey becomes colour and the reverse; transparency is left out.

    Returns:
        uint8 (height, width, channels); of a GIF its first frame.
    """
    start = tf.strings.substr(data, 0, 2)
    # TensorFlow decodes these two only to the channels that they have.
    is_fixed = tf.logical_or(tf.equal(start, b"BM"), tf.equal(start, b"GI"))
    image = tf.cond(
        is_fixed,
        lambda: _with_channels(_fixed(data, start), channels),
        lambda: tf.io.decode_image(data, channels=channels, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, channels))


def decode_and_crop(data: tf.Tensor, window: tf.Tensor, channels: int = 3) -> tf.Tensor:
    """Decodes a part of an image; of a JPEG hardly more than that part is decoded.

    Args:
        data: as for `decode`.
        window: int32 (4,), y and x of the upper left corner, height and width, in pixels.
        channels: as for `decode`.

    Returns:
        uint8 (height, width, channels) of the window.
    """

    def cut() -> tf.Tensor:
        size = tf.concat([window[2:], [channels]], axis=0)
        return tf.slice(decode(data, channels), tf.concat([window[:2], [0]], axis=0), size)

    image = tf.cond(
        tf.io.is_jpeg(data),
        lambda: tf.io.decode_and_crop_jpeg(data, window, channels=channels),
        cut,
    )
    return tf.ensure_shape(image, (None, None, channels))


def size(data: tf.Tensor) -> tf.Tensor:
    """Height and width of an image, int32 (2,); of a JPEG without decoding it."""
    return tf.cond(
        tf.io.is_jpeg(data),
        lambda: tf.io.extract_jpeg_shape(data)[:2],
        lambda: tf.shape(decode(data))[:2],
    )


def central_window(size: tf.Tensor, fraction: float = 0.875) -> tf.Tensor:
    """The square in the middle of an image that an evaluation looks at.

    Args:
        size: int32 (2,), height and width of the image.
        fraction: side of the square in shorter sides of the image; 0.875 is 224 of 256.

    Returns:
        int32 (4,), for `decode_and_crop`.
    """
    shorter = tf.cast(tf.reduce_min(size), tf.float32)
    side = tf.maximum(1, tf.cast(tf.round(shorter * fraction), tf.int32))
    return tf.concat([(size - side) // 2, [side, side]], axis=0)


def random_window(
    size: tf.Tensor,
    seed: tf.Tensor,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
    """A part of an image chosen by chance, as networks for ImageNet are trained on.

    Source: C. Szegedy et al., "Going Deeper with Convolutions", 2014, section 6,
    https://arxiv.org/abs/1409.4842.

    Args:
        size: int32 (2,), height and width of the image.
        seed: int32 (2,), of the example; the same gives the same window.
        area: least and largest share of the image.
        aspect: least and largest width divided by height.

    Returns:
        int32 (4,), for `decode_and_crop`.
    """
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([size, [3]], axis=0),
        bounding_boxes=tf.zeros([1, 0, 4]),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=aspect,
        area_range=area,
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], extent[:2]], axis=0)


def resize(image: tf.Tensor, size: tuple[int, int], *, antialias: bool = False) -> tf.Tensor:
    """Resizes an image, bilinearly.

    Args:
        image: uint8 (height, width, channels).
        size: height and width of the result, in pixels.
        antialias: whether to average over all pixels where the image becomes smaller, as Pillow
            does; several times as slow.

    Returns:
        uint8 (*size, channels), rounded.
    """
    resized = tf.image.resize(image, size, antialias=antialias)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def _fixed(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """A BMP or a GIF with the channels that it has."""

    def decoded() -> tf.Tensor:
        image = tf.io.decode_image(data, expand_animations=False)
        return tf.ensure_shape(image, (None, None, None))

    has_palette = tf.logical_and(
        tf.equal(start, b"BM"), tf.equal(tf.strings.substr(data, 28, 2), b"\x08\x00")
    )
    return tf.cond(has_palette, lambda: _of_palette(data, decoded()), decoded)


def _of_palette(data: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Colours of a BMP with 8 bits a pixel, of which TensorFlow gives the places in its palette."""
    header = tf.io.decode_raw(tf.strings.substr(data, 10, 8), tf.int32)
    first, end = 14 + header[1], header[0]
    palette = tf.io.decode_raw(tf.strings.substr(data, first, end - first), tf.uint8)
    blue_green_red = tf.reshape(palette, [-1, 4])[:, :3]
    return tf.gather(blue_green_red[:, ::-1], tf.cast(indices[..., 0], tf.int32))


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Grey as colour or colour as grey; a fourth channel is left out."""
    if channels == 1:
        return tf.cond(
            tf.equal(tf.shape(image)[-1], 1),
            lambda: image,
            lambda: tf.image.rgb_to_grayscale(tf.ensure_shape(image[..., :3], (None, None, 3))),
        )
    return tf.cond(
        tf.equal(tf.shape(image)[-1], 1),
        lambda: tf.repeat(image, 3, axis=-1),
        lambda: image[..., :3],
    )
