"""Images from the bytes of their files, as `preprocess` needs them: 8 bits a channel all along.

Numbers of 8 bits stay what they are until a model's arithmetic begins: batches of them are a
quarter as large as of float32. An orientation that a camera noted in a JPEG isn't applied, as
everywhere in TensorFlow: boxes and pixels go together as they are stored, which `require_size` sees
to. CMYK becomes RGB; of 16 bits a channel the upper 8 are kept.
"""

import tensorflow as tf


@tf.autograph.experimental.do_not_convert  # which takes longer than tracing
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


@tf.autograph.experimental.do_not_convert  # which takes longer than tracing
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


@tf.autograph.experimental.do_not_convert  # which takes longer than tracing
def size_of(data: tf.Tensor) -> tf.Tensor:
    """Height and width of an image, int32 (2,); of a JPEG without decoding it."""
    return tf.cond(
        tf.io.is_jpeg(data),
        lambda: tf.io.extract_jpeg_shape(data)[:2],
        lambda: tf.shape(decode(data))[:2],
    )


@tf.autograph.experimental.do_not_convert  # which takes longer than tracing
def require_size(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The image, if it has the proportions that its annotation says: boxes fit it then.

    A photo with a note to turn it may have been annotated as it is shown, and is decoded as it is
    stored. A copy of another size has the boxes in the same places.

    Args:
        image: (height, width, channels).
        size: int (2,), height and width that were annotated, in pixels.

    Raises:
        InvalidArgumentError: it has others, when the example is made.
    """
    there, said = tf.cast(tf.shape(image)[:2], tf.int64), tf.cast(size, tf.int64)
    # What rounding to whole pixels makes of the same proportions.
    near = 2 * tf.abs(there[0] * said[1] - there[1] * said[0]) <= tf.reduce_sum(said)
    fits = tf.debugging.Assert(
        near,
        [
            "The image has height and width",
            there,
            ", its annotation says",
            said,
            "; expected the same, or boxes lie elsewhere. A photo's note to turn it (EXIF) isn't "
            "applied: turn the files, or annotate them as they are stored.",
        ],
    )
    with tf.control_dependencies([fits]):
        return tf.identity(image)


@tf.autograph.experimental.do_not_convert  # which takes longer than tracing
def decode_middle(data: tf.Tensor, size: tuple[int, int], fraction: float = 0.875) -> tf.Tensor:
    """The part of an image that an evaluation looks at, resized.

    The counterpart of `decode_random_resized_crop` in `augment.images`: of the largest window of
    these proportions that fits, the middle.

    Args:
        data: as for `decode`.
        size: height and width of the result, in pixels.
        fraction: of the largest window's sides; 0.875 is 224 of 256.

    Returns:
        uint8 (*size, 3).
    """
    there = tf.cast(size_of(data), tf.float32)
    wanted = tf.constant(size, tf.float32)
    extent = wanted * tf.reduce_min(there / wanted) * fraction
    extent = tf.maximum(1, tf.cast(tf.round(extent), tf.int32))
    begin = (tf.cast(there, tf.int32) - extent) // 2
    return resize(decode_and_crop(data, tf.concat([begin, extent], axis=0)), size)


@tf.autograph.experimental.do_not_convert  # which takes longer than tracing
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
