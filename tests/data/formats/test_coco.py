import json

import numpy as np
import pytest
import tensorflow as tf

from tests.data.formats.reading import read_all
from tests.data.formats.rendered import SIDE, picture, write
from tfscale.data import images
from tfscale.data.formats import coco
from tfscale.errors import ConfigError

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 90, "name": "brush"}]
IDS = {7: "000007.png", 3: "000003.png", 5: "000005.png"}


def _annotation(number, image_id, category, box, **more):
    return {
        **{"id": number, "image_id": image_id, "category_id": category, "bbox": box},
        **{"iscrowd": 0, "area": box[2] * box[3] / 2, "segmentation": [[1, 2, 3, 4, 5, 6]], **more},
    }


@pytest.fixture
def content():
    return {
        "info": {"year": 2017},
        "images": [
            {"id": at, "file_name": name, "height": SIDE, "width": SIDE} for at, name in IDS.items()
        ],
        "annotations": [
            _annotation(1, 5, 90, [0, 6, 12, 18]),
            _annotation(2, 7, 1, [6.0, 0, 6, 24]),
            _annotation(3, 5, 18, [1, 2, 3, 4], iscrowd=1),
        ],
        "categories": list(CATEGORIES),
    }


@pytest.fixture
def folder(tmp_path):
    for number, name in IDS.items():
        write(tmp_path / "train2017" / name, picture(number))
    (tmp_path / "annotations").mkdir()
    return tmp_path


def _read(folder, content, classes=None, split="train2017"):
    path = folder / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(content))
    return coco.records(str(folder), split, classes, max_boxes=3)


def test_pictures_come_in_the_order_of_the_file_with_boxes_or_without(folder, content):
    collection = _read(folder, content)
    records = read_all(collection)
    assert [int(record["image_id"]) for record in records] == [7, 3, 5]
    assert [record["classes"].tolist() for record in records] == [
        *[[0, -1, -1], [-1, -1, -1], [2, 1, -1]]
    ]
    assert collection.place_of(1) == str(folder / "train2017" / "000003.png")


def test_paths_lead_to_the_pixels_that_were_written(folder, content):
    for record in read_all(_read(folder, content)):
        image = images.decode(tf.io.read_file(record["path"]))
        np.testing.assert_array_equal(image, picture(int(record["image_id"])))
        assert record["size"].tolist() == [SIDE, SIDE]


def test_boxes_are_corners_relative_to_the_picture(folder, content):
    record = read_all(_read(folder, content), order=[2])[0]
    expected = [[0.25, 0, 1, 0.5], [2 / 24, 1 / 24, 6 / 24, 4 / 24], [0, 0, 0, 0]]
    np.testing.assert_allclose(record["boxes"], expected, rtol=1e-6)
    assert record["crowd"].tolist() == [False, True, False]
    assert record["areas"].tolist() == [108.0, 6.0, 0.0]


def test_classes_are_counted_from_0_without_the_gaps_of_the_file(folder, content):
    _read(folder, content)
    assert coco.class_names(str(folder), "train2017") == ["person", "dog", "brush"]


def test_another_split_has_the_numbers_of_the_classes_of_training(folder, content):
    del content["categories"][1]
    del content["annotations"][1]
    records = read_all(_read(folder, content, ["person", "dog", "brush"]))
    assert records[2]["classes"].tolist() == [2, 1, -1]


def test_a_category_that_training_does_not_have_is_refused(folder, content):
    with pytest.raises(ConfigError, match=r"categories person, dog, brush; .*those of training"):
        _read(folder, content, ["person", "dog"])


def test_a_box_of_an_unknown_category_is_refused_by_its_picture(folder, content):
    content["annotations"][1]["category_id"] = 91
    with pytest.raises(ConfigError, match=r"category 91 in .*000007.png; expected .*1, 18, 90"):
        _read(folder, content)


def test_boxes_without_width_are_left_out_and_counted(folder, content, caplog):
    content["annotations"].insert(0, _annotation(9, 7, 18, [3, 3, 0, 5]))
    records = read_all(_read(folder, content))
    assert records[0]["classes"].tolist() == [0, -1, -1]
    assert "1 boxes without width or height were left out, the first one of" in caplog.text
    assert "000007.png" in caplog.text


def test_a_box_out_of_its_picture_is_cut_at_the_edge_and_said(folder, content, caplog):
    content["annotations"][1]["bbox"] = [18, -6, 30, 12]
    record = read_all(_read(folder, content))[0]
    np.testing.assert_allclose(record["boxes"][0], [0, 0.75, 0.25, 1])
    assert "1 of 3 boxes reach out" in caplog.text and "000007.png" in caplog.text


@pytest.mark.parametrize("box", [[30, 3, 5, 5], [3, 3, -1, 5], [1, 1, float("nan"), 2]])
def test_a_box_outside_or_of_negative_width_is_refused_by_its_picture(folder, content, box):
    content["annotations"][1]["bbox"] = box
    with pytest.raises(ConfigError, match=r"000007.png has a box without area"):
        _read(folder, content)


def test_more_boxes_than_places_are_refused_by_their_picture(folder, content):
    content["annotations"] += [_annotation(9 + at, 3, 1, [1, 1, 2, 2]) for at in range(4)]
    with pytest.raises(ConfigError, match=r"000003.png has 4 boxes.*Set max_boxes to 4"):
        _read(folder, content)


def test_a_missing_picture_is_refused_by_its_name(folder, content):
    (folder / "train2017" / "000003.png").unlink()
    with pytest.raises(ConfigError, match=r"train2017/000003.png is missing"):
        _read(folder, content)


def test_a_box_of_no_picture_is_refused_by_its_number(folder, content):
    content["annotations"][1]["image_id"] = 99
    with pytest.raises(ConfigError, match="annotation 2 of a picture that it doesn't list"):
        _read(folder, content)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_file_without_a_part_is_refused(folder, content, key):
    del content[key]
    with pytest.raises(ConfigError, match=f"can't be read as COCO.*no '{key}'"):
        _read(folder, content)


def test_boxes_that_are_not_four_numbers_are_refused(folder, content):
    for one in content["annotations"]:
        one["bbox"] = [*one["bbox"], 45.0]
    with pytest.raises(ConfigError, match=r"can't be read as COCO's annotations \(ValueError"):
        _read(folder, content)


def test_a_split_that_is_not_there_is_refused(folder):
    with pytest.raises(ConfigError, match=r"instances_val2017.json can't be read \(No such file"):
        coco.records(str(folder), "val2017")


def test_a_file_that_was_written_anew_is_read_anew(folder, content):
    before = _read(folder, content).checksum
    content["annotations"][1]["bbox"] = [1, 1, 11, 11.5]
    assert _read(folder, content).checksum != before


def test_no_annotations_at_all_are_pictures_without_boxes(folder, content):
    content["annotations"] = []
    assert (read_all(_read(folder, content))[0]["classes"] == -1).all()
