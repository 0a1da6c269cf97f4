"""Photos as cameras leave them: boxes and pixels agree, or it is said."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.formats.rendered import picture, write
from tfscale.data import images
from tfscale.data.formats import image_folder
from tfscale.data.formats.photo_notes import notes_of
from tfscale.data.sources.dataset_file import read_dataset_file
from tools.inspect_data.inspection import inspect_split


def _photo(orientation=None, size=(30, 20), mode="RGB", kind="JPEG"):
    file, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3)
    image = Image.fromarray(pixels).convert(mode) if mode != "I;16" else None
    image = image or Image.fromarray(np.zeros((size[1], size[0]), np.uint16))
    image.save(file, kind, exif=exif)
    return file.getvalue()


def test_a_note_to_turn_a_photo_is_counted():
    photos = [_photo(), _photo(1), _photo(6), _photo(3), b"no image"]
    told = "of 5 images looked at, 2 have a note to turn them (EXIF), which isn't applied"
    assert notes_of(photos) == told
    assert notes_of(photos[:2]) == ""


def test_sixteen_bits_are_told_and_their_upper_half_is_kept():
    photo = _photo(mode="I;16", kind="PNG")
    assert (
        notes_of([photo]) == "of 1 images looked at, 1 have 16 bits a channel, of which 8 are kept"
    )
    levels = np.arange(0, 65536, 4096, dtype=np.uint16).reshape(4, 4)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    np.testing.assert_array_equal(images.decode(file.getvalue(), 1)[..., 0], levels >> 8)


def test_inks_become_the_colours_that_others_make_of_them():
    photo = _photo(mode="CMYK")
    with Image.open(io.BytesIO(photo)) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.abs(images.decode(photo).numpy().astype(int) - expected).mean() < 1


def test_the_plan_says_what_photos_of_a_folder_have(tmp_path):
    for number in range(100):
        path = tmp_path / "cat" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_photo(6))
    note = image_folder.records(str(tmp_path)).note
    assert note.startswith("of 32 images looked at, 32 have a note to turn them (EXIF)")


@pytest.mark.parametrize(
    ("said", "fits"),
    [((20, 30), True), ((40, 60), True), ((10, 15), True), ((41, 61), True), ((30, 20), False)],
)
def test_proportions_are_those_of_the_annotation(said, fits):
    image = images.decode(_photo())
    if fits:
        np.testing.assert_array_equal(images.require_size(image, said), image)
        return
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)its annotation says.*30.*20"):
        images.require_size(image, said)


def test_inspect_data_says_it_of_paths_and_of_bytes(tmp_path):
    write(tmp_path / "upright.png", picture(1))
    (tmp_path / "turned.jpg").write_bytes(_photo(8))
    records = [str(tmp_path / "upright.png"), str(tmp_path / "turned.jpg"), _photo(5)]
    file = SimpleNamespace(
        __name__="mine",
        num_classes=2,
        splits=("train",),
        load=lambda split: tf.data.Dataset.from_tensor_slices((records, [0, 1, 0])),
        preprocess=lambda record, training: (tf.strings.length(record[0]), record[1]),
    )
    found = inspect_split(read_dataset_file(file), "train")
    assert "of 3 images looked at, 2 have a note to turn them" in " ".join(found.warnings)
