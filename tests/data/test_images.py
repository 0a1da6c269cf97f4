import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfscale.data import images

HEIGHT, WIDTH = 20, 26


def _picture(channels=3):
    """Smooth colours, which a JPEG keeps."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [x * 255 // WIDTH, y * 255 // HEIGHT, (x + y) * 255 // (WIDTH + HEIGHT), y * 0 + 128]
    pixels = np.stack(planes[:channels], axis=-1).astype(np.uint8)
    return pixels


def _bytes(pixels, kind, mode=None):
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image = image.convert(mode) if mode else image
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _decode(data):
    return images.decode(data)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _decode_grey(data):
    return images.decode(data, channels=1)


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([4], tf.int32)])
def _crop(data, window):
    return images.decode_and_crop(data, window)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_an_image_without_loss_comes_out_as_it_went_in(kind):
    decoded = _decode(_bytes(_picture(), kind))
    assert decoded.dtype == tf.uint8
    np.testing.assert_array_equal(decoded, _picture())


def test_a_jpeg_is_decoded_as_pillow_does():
    data = _bytes(_picture(), "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(data)), np.int32)
    np.testing.assert_allclose(_decode(data).numpy().astype(np.int32), expected, atol=6)


def test_of_a_gif_the_first_frame_is_taken():
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    decoded = _decode(file.getvalue()).numpy()
    assert decoded.shape == (HEIGHT, WIDTH, 3)
    assert (decoded == [255, 0, 0]).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_an_image_of_one_channel_becomes_three_alike(kind):
    grey = _picture(1)
    decoded = _decode(_bytes(grey, kind)).numpy().astype(np.int32)
    assert decoded.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(decoded, np.repeat(grey, 3, axis=-1), atol=4 * (kind == "JPEG"))


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_of_an_image_of_four_channels_transparency_is_left_out(kind):
    np.testing.assert_array_equal(_decode(_bytes(_picture(4), kind)), _picture())


def test_a_jpeg_of_four_inks_becomes_three_colours():
    decoded = _decode(_bytes(_picture(), "JPEG", "CMYK")).numpy().astype(np.int32)
    np.testing.assert_allclose(decoded, _picture(), atol=8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_colours_of_a_palette_are_looked_up(kind):
    colours = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)
    pixels = colours[np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3]
    image = Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE, colors=3)
    file = io.BytesIO()
    image.save(file, kind)
    np.testing.assert_array_equal(_decode(file.getvalue()), pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_colour_becomes_grey_where_one_channel_is_asked_for(kind):
    pixels = np.full((HEIGHT, WIDTH, 3), (200, 100, 50), np.uint8)
    decoded = _decode_grey(_bytes(pixels, kind)).numpy()
    assert decoded.shape == (HEIGHT, WIDTH, 1)
    np.testing.assert_allclose(decoded.astype(np.int32), 124, atol=2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_a_window_is_what_cutting_the_whole_image_gives(kind):
    data = _bytes(_picture(), kind)
    window = _crop(data, [3, 5, 10, 12]).numpy().astype(np.int32)
    whole = _decode(data).numpy().astype(np.int32)
    # At its edges a JPEG's window lacks the neighbours from which colours are smoothed.
    np.testing.assert_allclose(window, whole[3:13, 5:17], atol=8 * (kind == "JPEG"))


def test_a_window_out_of_the_image_fails():
    with pytest.raises(tf.errors.InvalidArgumentError):
        _crop(_bytes(_picture(), "JPEG"), [15, 0, 10, 10])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
def test_height_and_width_are_known(kind):
    assert images.size_of(_bytes(_picture(), kind)).numpy().tolist() == [HEIGHT, WIDTH]


def test_a_jpeg_that_was_cut_off_fails():
    with pytest.raises(tf.errors.InvalidArgumentError):
        _decode(_bytes(_picture(), "JPEG")[:-40])


def test_what_is_no_image_fails():
    with pytest.raises(tf.errors.InvalidArgumentError):
        _decode(b"not an image")


def test_an_image_stays_of_8_bits_when_it_is_resized():
    resized = images.resize(tf.constant(_picture()), (10, 13))
    assert resized.dtype == tf.uint8
    np.testing.assert_allclose(
        resized.numpy().astype(np.int32), _picture()[::2, ::2].astype(np.int32), atol=12
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_middle_of_an_image_has_the_proportions_that_are_asked_for(kind):
    # Of 20 x 26 pixels, the largest square is 20 x 20, and half of its sides are 10 x 10.
    middle = images.decode_middle(_bytes(_picture(), kind), (10, 10), fraction=0.5)
    assert middle.dtype == tf.uint8
    expected = _picture()[5:15, 8:18].astype(np.int32)
    np.testing.assert_allclose(middle.numpy().astype(np.int32), expected, atol=8 * (kind == "JPEG"))


def test_the_middle_of_the_smallest_image_is_that_image():
    data = _bytes(np.full((1, 1, 3), 7, np.uint8), "PNG")
    assert (images.decode_middle(data, (4, 2)).numpy() == 7).all()
