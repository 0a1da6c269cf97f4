import numpy as np
import pytest
import tensorflow as tf

from tests.data.formats.reading import read_all
from tests.data.formats.rendered import SIDE, picture, voc_annotation, write
from tfscale.data import images
from tfscale.data.formats import voc
from tfscale.errors import ConfigError

CAT, DOG, PERSON = (voc.CLASSES.index(name) for name in ("cat", "dog", "person"))
OBJECTS = {
    "000001": [("cat", (1, 1, 24, 12), 0), ("dog", (7, 3, 18, 24), 1)],
    "000002": [],
    "000003": [("person", (5, 5, 5, 5), 0), ("person", (13, 1, 24, 6), 1)],
}


@pytest.fixture
def folder(tmp_path):
    for image_id, objects in OBJECTS.items():
        write(tmp_path / "JPEGImages" / f"{image_id}.jpg", picture(int(image_id)))
        _annotate(tmp_path, image_id, objects)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("000003\n000001\n000002\n")
    (lists / "val.txt").write_text("000002\n")
    return tmp_path


def _annotate(folder, image_id, objects, **kwargs):
    path = folder / "Annotations" / f"{image_id}.xml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(voc_annotation(image_id, objects, **kwargs))


def _read(folder, **kwargs):
    return voc.records(str(folder), "trainval", max_boxes=3, **kwargs)


def test_pictures_come_in_the_order_of_their_list(folder):
    collection = _read(folder)
    assert [record["image_id"] for record in read_all(collection)] == [
        *[b"000003", b"000001", b"000002"]
    ]
    assert collection.place_of(1) == str(folder / "JPEGImages" / "000001.jpg")


def test_paths_lead_to_the_pictures(folder):
    for record in read_all(_read(folder)):
        image = images.decode(tf.io.read_file(record["path"])).numpy().astype(int)
        np.testing.assert_allclose(image, picture(int(record["image_id"])), atol=100)
        assert record["size"].tolist() == [SIDE, SIDE]


def test_boxes_are_parts_of_the_picture_and_include_their_last_pixel(folder):
    record = read_all(_read(folder), order=[1])[0]
    assert record["boxes"].dtype == np.float32
    expected = [[0, 0, 0.5, 1], [2 / 24, 0.25, 1, 0.75], [0, 0, 0, 0]]
    np.testing.assert_allclose(record["boxes"], expected, rtol=1e-6)
    assert record["classes"].tolist() == [CAT, DOG, -1]
    assert record["difficult"].tolist() == [False, True, False]


def test_a_box_of_one_pixel_has_an_area(folder):
    record = read_all(_read(folder), order=[0])[0]
    np.testing.assert_allclose(record["boxes"][0], np.array([4, 4, 5, 5]) / 24, rtol=1e-6)


def test_labels_are_the_classes_of_which_there_is_an_object(folder):
    records = read_all(_read(folder))
    assert [np.flatnonzero(one["labels"]).tolist() for one in records] == [[PERSON], [CAT, DOG], []]
    easy = [np.flatnonzero(one["labels_no_difficult"]).tolist() for one in records]
    assert easy == [[PERSON], [CAT], []]
    assert records[0]["labels"].shape == (20,) and records[0]["labels"].dtype == np.float32


def test_a_split_of_pictures_without_objects_can_be_read(folder):
    record = read_all(voc.records(str(folder), "val"))[0]
    assert (record["classes"] == -1).all() and record["boxes"].shape == (64, 4)


def test_classes_may_be_others(folder):
    names = ["person", "dog", "cat"]
    record = read_all(_read(folder, classes=names), order=[1])[0]
    assert record["classes"].tolist() == [2, 1, -1]
    assert record["labels"].tolist() == [0, 1, 1]


def test_a_box_out_of_its_picture_is_cut_at_the_edge_and_said(folder, caplog):
    _annotate(folder, "000002", [("cat", (-5, 13, 12, 40), 0)])
    record = read_all(_read(folder), order=[2])[0]
    np.testing.assert_allclose(record["boxes"][0], [0.5, 0, 1, 0.5])
    assert "1 of 5 boxes reach out of their pictures" in caplog.text
    assert "Annotations/000002.xml" in caplog.text


@pytest.mark.parametrize("box", [(30, 1, 40, 10), (9, 1, 8, 10), (1, 9, 8, 3)])
def test_a_box_without_area_is_refused_by_its_file(folder, box):
    _annotate(folder, "000002", [("cat", box, 0)])
    with pytest.raises(ConfigError, match=r"Annotations/000002.xml has a box without area"):
        _read(folder)


def test_an_object_of_no_class_is_refused_by_its_file(folder):
    _annotate(folder, "000002", [("unicorn", (1, 1, 8, 8), 0)])
    with pytest.raises(ConfigError, match=r"000002.xml has an object of class 'unicorn'.*tvmon"):
        _read(folder)


def test_a_picture_without_size_is_refused_by_its_file(folder):
    _annotate(folder, "000002", [("cat", (1, 1, 8, 8), 0)], size=(0, 24))
    with pytest.raises(ConfigError, match=r"000002.xml has a picture of 0, 24 pixels"):
        _read(folder)


def test_more_boxes_than_places_are_refused_with_the_number_that_is_needed(folder):
    _annotate(folder, "000002", [("cat", (1, 1, 8, 8), 0)] * 5)
    with pytest.raises(ConfigError, match=r"000002.xml has 5 boxes.*Set max_boxes to 5"):
        _read(folder)


@pytest.mark.parametrize("name", ["JPEGImages/000002.jpg", "Annotations/000002.xml"])
def test_a_missing_file_is_refused_by_its_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} (is missing|can't be read)"):
        _read(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation><size>", "can't be read as an annotation"),
        ("<annotation></annotation>", "no height, width"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>&b;</annotation>", "has a document type"),
        (voc_annotation("000002", [("cat", (1, "x", 8, 8), 0)]), "could not convert"),
    ],
)
def test_an_annotation_that_is_none_is_refused_by_its_file(folder, text, reason):
    (folder / "Annotations" / "000002.xml").write_text(text)
    with pytest.raises(ConfigError, match=f"Annotations/000002.xml .*{reason}"):
        _read(folder)


def test_a_list_for_one_class_is_refused(folder):
    (folder / "ImageSets" / "Main" / "trainval.txt").write_text("000001 -1\n")
    with pytest.raises(ConfigError, match=r"trainval.txt, line 1 is '000001 -1'"):
        _read(folder)


def test_a_split_that_is_not_there_is_refused(folder):
    with pytest.raises(ConfigError, match=r"Main/nothing.txt can't be read"):
        voc.records(str(folder), "nothing")


def test_the_same_data_elsewhere_has_the_same_checksum(folder):
    before = _read(folder).checksum
    there = folder.with_name("there")
    folder.rename(there)
    assert _read(there).checksum == before
    _annotate(there, "000002", [("cat", (1, 1, 8, 8), 0)])
    assert _read(there).checksum != before
