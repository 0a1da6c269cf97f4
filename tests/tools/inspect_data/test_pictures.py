"""A picture shows each image as it is, with its boxes where its pixels are."""

import sys

import numpy as np
import pytest
from PIL import Image

from tfscale.errors import ConfigError
from tools.inspect_data.figures import Figures, named_leaves
from tools.inspect_data.pictures import Labels, image_of, scale_of, write_grid

RAMP = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8, 1)


def _figures(example):
    figures = {}
    for name, leaf in named_leaves(example).items():
        figures[name] = Figures.like(leaf)
        figures[name].add(leaf)
    return figures


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (RAMP, "0 is black, 1 is white"),
        (RAMP * 0.3, "0 is black, 1 is white"),
        (RAMP * 2 - 1, "-1 is black, 1 is white"),
        (RAMP * 255, "0 is black, 255 is white"),
        ((RAMP * 255).astype(np.uint8), "0 is black, 255 is white"),
        ((RAMP * 9).astype(np.uint8), "0 is black, 255 is white"),
        ((RAMP * 255).astype(np.int32), "0 is black, 255 is white"),
        (RAMP > 0.5, "0 is black, 1 is white"),
        (RAMP * 5 - 2.2, "-2.2 is black, 2.8 is white"),
    ],
)
def test_the_range_of_values_says_what_is_black_and_white(values, words):
    scale = scale_of(_figures((values, 0))["x"])
    assert scale.described.startswith(words)
    pixels = scale.bytes_of(values)
    low, high = (np.float64(one) for one in (values.min(), values.max()))
    expected = [255 * (one - scale.low) / (scale.high - scale.low) for one in (low, high)]
    np.testing.assert_allclose([pixels.min(), pixels.max()], expected, atol=0.6)


@pytest.mark.parametrize("value", [0.5, 700.0, np.nan])
def test_an_image_of_a_single_value_can_be_drawn(value):
    image = np.full([4, 4, 3], value, np.float32)
    assert scale_of(_figures((image, 0))["x"]).bytes_of(image).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("x", "name"),
    [
        (np.zeros([8, 8, 3]), "x"),
        (np.zeros([8, 9]), "x"),
        (np.zeros([8, 9, 4], np.uint8), "x"),
        ({"size": np.zeros(2), "image": np.zeros([8, 8, 1])}, "x['image']"),
        (np.zeros(784), None),
        (np.zeros([3, 8, 8]), None),
        (np.zeros([2, 100]), None),
        (np.full([8, 8], b"", object), None),
    ],
)
def test_what_is_an_image_is_told_by_its_shape(x, name):
    assert image_of(_figures((x, np.zeros([9, 9])))) == name


def _drawn(folder, examples, task="classification", names=()):
    figures = _figures(examples[0])
    name = image_of(figures)
    path = folder / "grid.png"
    words = write_grid(str(path), examples, name, scale_of(figures[name]), Labels(task, names))
    assert str(len(examples)) in words
    assert [file.name for file in folder.iterdir()] == ["grid.png"]
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_small_images_are_enlarged_by_whole_pixels(tmp_path):
    drawn = _drawn(tmp_path, [(RAMP, 3)])
    cell = drawn[8 : 8 + 128, 8 : 8 + 128]
    expected = np.rint(RAMP * 255).repeat(16, axis=0).repeat(16, axis=1)
    np.testing.assert_array_equal(cell, np.broadcast_to(expected, cell.shape))


def test_large_images_are_made_smaller(tmp_path):
    image = np.zeros([300, 600, 3], np.uint8)
    image[:, 300:] = 255
    drawn = _drawn(tmp_path, [(image, 3)] * 2)
    assert drawn.shape == (8 + 64 + 18 + 8, 8 + 2 * (128 + 8), 3)
    assert drawn[8 + 32, 8 + 30].tolist() == [0, 0, 0]
    assert drawn[8 + 32, 8 + 100].tolist() == [255, 255, 255]


def test_the_label_stands_under_its_picture(tmp_path):
    with_label, other, none = (
        _drawn(tmp_path, [(RAMP, y)], task)[8 + 128 :]
        for y, task in (
            (3, "classification"),
            (4, "classification"),
            (np.zeros([9, 9]), "regression"),
        )
    )
    assert (none == 255).all()
    assert (with_label < 100).any()
    assert (with_label != other).any()


def test_a_class_has_its_name_under_its_picture(tmp_path):
    plain, named = (_drawn(tmp_path, [(RAMP, 1)], names=names)[136:] for names in ((), ("a", "b")))
    assert (plain != named).any()


def test_a_mask_lies_over_its_picture(tmp_path):
    image, mask = np.full([64, 64, 3], 0.5, np.float32), np.zeros([64, 64], np.int64)
    mask[:, 32:], mask[32:, :32] = 1, 255
    drawn = _drawn(tmp_path, [(image, mask)])
    ground, one, void = drawn[20, 20], drawn[20, 100], drawn[100, 20]
    assert ground.tolist() == [128, 128, 128]
    # 0.4 of grey and 0.6 of "#56B4E9".
    np.testing.assert_allclose(one, 0.4 * 127.5 + 0.6 * np.array([0x56, 0xB4, 0xE9]), atol=1)
    np.testing.assert_allclose(void, 51, atol=1)


def test_a_long_label_stays_within_its_column(tmp_path):
    y = {f"output {number}": np.int64(number) for number in range(40)}
    drawn = _drawn(tmp_path, [(RAMP, y)])
    assert (drawn[:, 8 + 128 :] == 255).all()


def test_boxes_are_drawn_around_their_pixels(tmp_path):
    image = np.zeros([64, 64, 3], np.uint8)
    image[16:48, 8:56] = 255
    y = {
        "boxes": np.float32([[0.25, 0.125, 0.75, 0.875], [0, 0, 1, 1], [0, 0, np.nan, 1]]),
        "classes": np.array([1, -1, 2]),
    }
    drawn = _drawn(tmp_path, [(image, y)], "detection")
    cell = drawn[8 : 8 + 128, 8 : 8 + 128]
    coloured = cell.max(axis=-1) - cell.min(axis=-1) > 40
    rows, columns = np.flatnonzero(coloured.any(axis=1)), np.flatnonzero(coloured.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (32, 95, 16, 111)
    assert coloured[32, 16:112].all()
    assert coloured[32:96, 111].all()
    assert not coloured[60, 60]


def test_without_pillow_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ConfigError, match="pip install pillow"):
        _drawn(tmp_path, [(RAMP, 3)])
    assert not list(tmp_path.iterdir())
