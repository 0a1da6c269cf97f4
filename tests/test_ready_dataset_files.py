"""The ready dataset files, each read as a run reads it, from files that are written here.

Published data sets are written with their own names, features and form on disk by TensorFlow
Datasets itself, from pictures that are rendered here.
"""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from PIL import Image

from tests.data.formats.rendered import SIDE, picture, voc_annotation, write
from tests.data.formats.written_by_tfds import write_as
from tfscale.data.examples.examples import ExampleMaker
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.once_per_file_system import prepare
from tfscale.data.sources.source import source_of
from tfscale.errors import ConfigError

DATASETS = Path(__file__).resolve().parents[1] / "datasets"
SIZE = f"size={SIDE},{SIDE}"
BOX = [0.25, 0.0, 1.0, 0.5]  # y_min, x_min, y_max, x_max


def _write_image_folder(folder):
    for split, first in (("train", 0), ("validation", 4)):
        for number in range(first, first + 4):
            write(folder / split / f"class{number % 2}" / f"{number}.png", picture(number))


def _serialized(number):
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[_png(number)])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _png(number):
    file = io.BytesIO()
    Image.fromarray(picture(number)).save(file, "PNG")
    return file.getvalue()


def _write_tfrecords(folder):
    for split, first in (("train", 0), ("validation", 4)):
        for part in range(2):
            path = str(folder / f"{split}-{part}-of-2.tfrecord")
            with tf.io.TFRecordWriter(path) as writer:
                for number in range(2):
                    writer.write(_serialized(first + 2 * part + number))
    _describe_examples(folder)


def _write_array_records(folder):
    for split, first in (("train", 0), ("validation", 4)):
        path = str(folder / f"{split}.array_record")
        writer = array_record_module.ArrayRecordWriter(path, "group_size:1")
        for number in range(first, first + 4):
            writer.write(_serialized(number))
        writer.close()
    _describe_examples(folder)


def _describe_examples(folder):
    kinds = {"image": "string", "label": "int64"}
    description = {name: {"dtype": dtype, "shape": []} for name, dtype in kinds.items()}
    (folder / "features.json").write_text(json.dumps(description))


def _write_voc_devkit(folder):
    folder = folder / "VOC2007"
    lists = folder / "ImageSets" / "Main"
    for path in (lists, folder / "Annotations"):
        path.mkdir(parents=True)
    for number in range(8):
        write(folder / "JPEGImages" / f"{number}.png", picture(number))
        text = voc_annotation(number, [("dog", (1, 7, 12, 24), number % 2)])
        (folder / "Annotations" / f"{number}.xml").write_text(text)
    for name, numbers in (("train", range(4)), ("val", range(4, 8))):
        (lists / f"{name}.txt").write_text("\n".join(map(str, numbers)))


def _write_coco_json(folder):
    (folder / "annotations").mkdir()
    for split, first in (("train2017", 0), ("val2017", 4)):
        numbers = range(first, first + 4)
        for number in numbers:
            write(folder / split / f"{number}.png", picture(number))
        box = {"category_id": 9, "bbox": [0, 6, 12, 18], "area": 216, "iscrowd": 1}
        content = {
            "images": [
                {"id": at, "file_name": f"{at}.png", "height": SIDE, "width": SIDE}
                for at in numbers
            ],
            "annotations": [{"id": at, "image_id": at} | box for at in numbers],
            "categories": [{"id": 2 + at, "name": f"c{at}"} for at in range(80)],
        }
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _write_csv_table(folder):
    rows = [f"{number},{number % 2},{number / 4}" for number in range(8)]
    (folder / "train.csv").write_text("\n".join(["a,label,b", *rows[:4]]))
    moved = [",".join(reversed(row.split(","))) for row in rows[4:]]
    (folder / "validation.csv").write_text("\n".join(["b,label,a", *moved]))


def _write_text_lines(folder):
    for split, first in (("train", 0), ("validation", 4)):
        lines = [
            f"{number % 2}\tWord{number} the word{number}" for number in range(first, first + 4)
        ]
        (folder / f"{split}.txt").write_text("\n".join(lines))


def _published(name, examples_of, file_format="array_record", evaluation="test"):
    """Writes a data set of TensorFlow Datasets: ten records of training, four others."""

    def write_into(folder):
        splits = {
            "train": [examples_of(number) for number in range(10)],
            evaluation: [examples_of(number) for number in range(10, 14)],
        }
        write_as(name, folder, splits, file_format)

    return write_into


def _mnist(number):
    return {"image": np.full((28, 28, 1), 20 + number, np.uint8), "label": number % 10}


def _cifar(number):
    image = np.full((32, 32, 3), (20 + number, 2 * number, 255), np.uint8)
    return {"id": str(number), "image": image, "label": number % 10}


def _cifar100(number):
    return _cifar(number) | {"coarse_label": number, "label": 80 + number}


def _imagenet(number):
    return {"file_name": f"{number}.JPEG", "image": picture(number), "label": 900 + number}


def _voc(number):
    one = {
        "label": 11,
        "bbox": tfds.features.BBox(*BOX),
        "pose": 0,
        "is_truncated": False,
        "is_difficult": True,
    }
    return {
        **{"image": picture(number), "image/filename": f"{number}.jpg"},
        **{"labels": [11], "labels_no_difficult": [], "objects": [one] * (number % 3)},
    }


def _coco(number):
    one = {
        "area": 216,
        "bbox": tfds.features.BBox(*BOX),
        "id": number,
        "is_crowd": True,
        "label": 7,
    }
    return {
        **{"image": picture(number), "image/filename": f"{number}.jpg", "image/id": number},
        "objects": [one] * (number % 3),
    }


# How each file's data is written, and what a run is given beside --data_dir.
READY = {
    "image_folder": (_write_image_folder, [SIZE]),
    "tfrecord": (_write_tfrecords, [SIZE]),
    "array_record": (_write_array_records, [SIZE]),
    "voc_devkit": (_write_voc_devkit, [SIZE]),
    "coco_json": (_write_coco_json, [SIZE]),
    "csv_table": (_write_csv_table, []),
    "text_lines": (_write_text_lines, ["vocabulary=512"]),
    "mnist": (_published("mnist", _mnist), []),
    "cifar10": (_published("cifar10", _cifar, "tfrecord"), []),
    "cifar100": (_published("cifar100", _cifar100), ["num_classes=100"]),
    "imagenet2012": (_published("imagenet2012", _imagenet, evaluation="validation"), [SIZE]),
    "voc": (_published("voc/2007", _voc, evaluation="validation"), [SIZE]),
    "coco": (_published("coco/2017", _coco, evaluation="validation"), [SIZE]),
}
# What has another name than the file that reads it.
FILES = dict.fromkeys(["cifar10", "cifar100"], "cifar") | dict.fromkeys(
    ["tfrecord", "array_record"], "record_files"
)
IMAGES = sorted(set(READY) - {"csv_table", "text_lines"})


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Gives the folder of a ready file's data, which is written once."""
    written = {}

    def folder(name):
        if name not in written:
            written[name] = tmp_path_factory.mktemp(name)
            READY[name][0](written[name])
        return written[name]

    return folder


def _examples(name, folder, split="train", *, options=(), training=False, epochs=(0,)):
    """A split's examples of some epochs, as a run makes them."""
    options = (*READY[name][1], *options)
    path = DATASETS / f"{FILES.get(name, name)}.py"
    file = read_dataset_file(str(path), options, str(folder))
    example = ExampleMaker(file, training=training, seed=5)
    records = source_of(file, split).records.enumerate()
    of_epochs = tf.data.Dataset.from_tensor_slices(tf.constant(epochs, tf.int64)).flat_map(
        lambda epoch: records.map(lambda at, record: (at, record, epoch))
    )
    made = of_epochs.map(lambda at, record, epoch: example(record, at, epoch))
    assert all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(made.element_spec))
    return list(made.as_numpy_iterator())


def _colours(examples):
    """What is in the middle of each image, as numbers of 8 bits."""
    return [np.round(x[x.shape[0] // 2, x.shape[1] // 2] * 255).astype(int) for x, _ in examples]


def _rendered(numbers):
    return [picture(number)[SIDE // 2, SIDE // 2] for number in numbers]


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_floats_in_0_to_1_alike_in_training_and_evaluation(folder_of, name):
    folder = folder_of(name)
    trained = _examples(name, folder, training=True)
    evaluated = _examples(name, folder, "validation")
    assert {x.shape for x, _ in trained} == {x.shape for x, _ in evaluated}
    for x, _ in (*trained, *evaluated):
        assert x.dtype == np.float32 and x.min() >= 0.0 and 0.0 < x.max() <= 1.0


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet2012", "image_folder"])
def test_augmentation_is_of_the_example_and_the_epoch(folder_of, name):
    # Twice in this epoch and once in the next.
    epochs = _examples(name, folder_of(name), training=True, epochs=(0, 0, 1))
    once, again, next_epoch = np.split(np.stack([x for x, _ in epochs]), 3)
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, next_epoch)


def test_a_folder_of_images_has_the_classes_of_its_folders(folder_of):
    for split, numbers in (("train", [0, 2, 1, 3]), ("validation", [4, 6, 5, 7])):
        examples = _examples("image_folder", folder_of("image_folder"), split)
        assert [int(y) for _, y in examples] == [0, 0, 1, 1]
        np.testing.assert_array_equal(_colours(examples), _rendered(numbers))


def test_a_folder_of_images_takes_grey_and_transparent_ones(tmp_path):
    grey, clear = picture(9, channels=1), picture(6, channels=4)
    write(tmp_path / "train" / "a" / "grey.png", grey)
    write(tmp_path / "train" / "b" / "clear.png", clear)
    examples = _examples("image_folder", tmp_path)
    middle = SIDE // 2
    expected = [np.repeat(grey[middle, middle], 3), clear[middle, middle, :3]]
    np.testing.assert_array_equal(_colours(examples), expected)
    assert np.isfinite(_examples("image_folder", tmp_path, training=True)[0][0]).all()


@pytest.mark.parametrize("training", [True, False])
def test_an_image_that_was_cut_off_fails(tmp_path, training):
    for name in ("a", "b"):
        write(tmp_path / "train" / name / "1.jpg", picture(1))
    path = tmp_path / "train" / "a" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(tf.errors.InvalidArgumentError):
        _examples("image_folder", tmp_path, training=training)


def test_the_folders_say_how_many_classes_there_are(folder_of):
    file = read_dataset_file(str(DATASETS / "image_folder.py"), (), str(folder_of("image_folder")))
    assert source_of(file, "train").classes == ("class0", "class1")
    assert file.num_classes is None


@pytest.mark.parametrize("name", ["tfrecord", "array_record"])
def test_records_of_files_are_what_was_written(folder_of, name):
    for split, numbers in (("train", range(4)), ("validation", range(4, 8))):
        examples = _examples(name, folder_of(name), split)
        assert [int(y) for _, y in examples] == list(numbers)
        np.testing.assert_array_equal(_colours(examples), _rendered(numbers))


def test_record_files_of_two_kinds_or_of_none_are_refused(tmp_path):
    of = re.escape("of train*.tfrecord* and train*.array_record*")
    with pytest.raises(ConfigError, match=f"{re.escape(str(tmp_path))} has neither {of}"):
        _examples("tfrecord", tmp_path)
    _write_tfrecords(tmp_path)
    _write_array_records(tmp_path)
    both = re.escape("train-0-of-2.tfrecord and train.array_record")
    with pytest.raises(ConfigError, match=f" has {both} {of}; expected files of one kind"):
        _examples("tfrecord", tmp_path)


@pytest.mark.parametrize("name", ["voc_devkit", "voc"])
def test_objects_of_voc_have_boxes_and_classes(folder_of, name):
    # The official archives have a dog on each picture, the other one has none to two.
    counts = [1, 1, 1, 1] if name == "voc_devkit" else [number % 3 for number in range(10)]
    found = []
    for x, y in _examples(name, folder_of(name)):
        count = int((y["classes"] >= 0).sum())
        found.append(count)
        assert x.shape == (SIDE, SIDE, 3) and y["size"].tolist() == [SIDE, SIDE]
        assert y["classes"].tolist() == [11] * count + [-1] * (64 - count)
        np.testing.assert_allclose(y["boxes"][:count], np.tile(BOX, (count, 1)))
        assert not y["boxes"][count:].any() and not y["difficult"][count:].any()
    assert sorted(found) == sorted(counts)


@pytest.mark.parametrize("name", ["voc_devkit", "voc"])
def test_labels_of_voc_are_zeros_and_ones(folder_of, name):
    examples = _examples(name, folder_of(name), options=["task=multilabel"])
    for _, y in examples:
        assert y.dtype == np.float32 and y.shape == (20,)
        assert np.flatnonzero(y).tolist() == [11] and y.max() == 1.0


def test_more_boxes_than_places_fail(folder_of):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"has.*boxes; .*max_boxes = 1"):
        _examples("voc", folder_of("voc"), options=["max_boxes=1"])


def test_the_test_split_of_voc_2012_has_no_labels_and_is_none(folder_of):
    file = read_dataset_file(str(DATASETS / "voc.py"), ("year=2012",), str(folder_of("voc")))
    assert source_of(file, "test") is None


@pytest.mark.parametrize("name", ["coco_json", "coco"])
def test_objects_of_coco_have_boxes_and_classes(folder_of, name):
    counts = [1, 1, 1, 1] if name == "coco_json" else [number % 3 for number in range(10)]
    found = []
    for x, y in _examples(name, folder_of(name)):
        count = int((y["classes"] >= 0).sum())
        found.append(count)
        assert x.shape == (SIDE, SIDE, 3) and y["size"].tolist() == [SIDE, SIDE]
        assert y["classes"].tolist() == [7] * count + [-1] * (100 - count)
        np.testing.assert_allclose(y["boxes"][:count], np.tile(BOX, (count, 1)))
        assert y["crowd"].tolist() == [True] * count + [False] * (100 - count)
    assert sorted(found) == sorted(counts)


def test_coco_with_other_classes_than_num_classes_is_refused_with_the_flag(folder_of):
    with pytest.raises(ConfigError, match="has 80 classes.* --dataset_option=num_classes=80"):
        _examples("coco_json", folder_of("coco_json"), options=["num_classes=91"])


def test_a_table_has_the_order_of_columns_of_its_training_rows(folder_of):
    folder = folder_of("csv_table")
    for split, numbers in (("train", range(4)), ("validation", range(4, 8))):
        examples = _examples("csv_table", folder, split)
        assert [x.tolist() for x, _ in examples] == [[number, number / 4] for number in numbers]
        assert [int(y) for _, y in examples] == [number % 2 for number in numbers]


def test_a_label_out_of_range_in_a_table_is_refused_by_its_row(tmp_path):
    (tmp_path / "train.csv").write_text("label,x\n0,1\n2,1\n")
    with pytest.raises(ConfigError, match=r"train.csv, record 2: label is 2; expected a class fro"):
        _examples("csv_table", tmp_path)


SPECIES = ("wolf", "ant", "wolf", "Yak", "ant", "Yak")


def _write_species(folder, name="train.csv", species=SPECIES, first=""):
    """As pandas writes a table: with a counter of the rows, whose name is empty, before it."""
    rows = [f"{row},{row * row / 8},{one}" for row, one in enumerate(species)]
    (folder / name).write_text("\n".join([f"{first},x,species", *rows, ""]))


def test_a_table_of_pandas_with_classes_as_texts_has_neither_counter_nor_an_order_of_its_own(
    tmp_path,
):
    _write_species(tmp_path)
    _write_species(tmp_path, "validation.csv", ("wolf", "wolf", "ant"))
    options = ["label=species", "num_classes=3"]
    train = _examples("csv_table", tmp_path, options=options)
    assert [x.tolist() for x, _ in train] == [[row * row / 8] for row in range(6)]
    assert [int(y) for _, y in train] == [2, 1, 2, 0, 1, 0]
    validation = _examples("csv_table", tmp_path, "validation", options=options)
    assert [int(y) for _, y in validation] == [2, 2, 1]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_table_that_counts_its_rows_is_refused_for_every_split_unless_on_purpose(tmp_path, split):
    for name in ("train.csv", "validation.csv"):
        _write_species(tmp_path, name, first="id")
    options = ["label=species", "num_classes=3"]
    with pytest.raises(ConfigError, match=r"id counts the rows .* --dataset_option=exclude=id\."):
        _examples("csv_table", tmp_path, split, options=options)
    without = _examples("csv_table", tmp_path, split, options=[*options, "exclude=id"])
    kept = _examples("csv_table", tmp_path, split, options=[*options, "features=id,x"])
    assert without[2][0].tolist() == [0.5] and kept[2][0].tolist() == [2.0, 0.5]


def test_a_class_of_validation_alone_and_another_number_of_classes_are_refused(tmp_path):
    _write_species(tmp_path)
    _write_species(tmp_path, "validation.csv", ("wolf", "bee"))
    with pytest.raises(ConfigError, match=r"validation.csv, record 2: species is 'bee', which is"):
        _examples("csv_table", tmp_path, "validation", options=["label=species", "num_classes=3"])
    with pytest.raises(ConfigError, match=r"3 classes in species.* --dataset_option=num_classes=3"):
        _examples("csv_table", tmp_path, options=["label=species"])


def test_texts_are_counted_by_word_whatever_their_case(folder_of):
    for number, (x, y) in enumerate(_examples("text_lines", folder_of("text_lines"))):
        assert x.shape == (512,) and int(y) == number % 2
        np.testing.assert_allclose(sorted(x[x > 0]), np.log([2.0, 3.0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("mnist", range(10)),
        ("cifar10", range(10)),
        ("cifar100", range(80, 90)),
        ("imagenet2012", range(900, 910)),
    ],
)
def test_published_images_keep_their_labels(folder_of, name, labels):
    splits = ("train", "validation") if name != "imagenet2012" else ("train",)
    examples = [one for split in splits for one in _examples(name, folder_of(name), split)]
    assert sorted(int(y) for _, y in examples) == list(labels)
    for colour, (_, y) in zip(_colours(examples), examples, strict=True):
        number = int(y) - labels[0]
        if name == "imagenet2012":  # stored as JPEG
            np.testing.assert_allclose(colour, picture(number)[SIDE // 2, SIDE // 2], atol=30)
        else:
            assert colour[0] == 20 + number


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_a_tenth_of_training_is_for_validation_and_the_test_split_stays_apart(folder_of, name):
    sizes = [len(_examples(name, folder_of(name), split)) for split in ("train", "validation")]
    assert sizes == [9, 1]
    assert len(_examples(name, folder_of(name), "test")) == 4


def test_a_cifar_that_there_is_not_is_refused_before_anything_is_asked_for(tmp_path):
    file = read_dataset_file(str(DATASETS / "cifar.py"), ("num_classes=20",), str(tmp_path))
    with pytest.raises(ConfigError, match="no CIFAR of 20 classes. Use num_classes=10 or 100"):
        prepare(file, print)
    assert not list(tmp_path.glob("[!.]*"))
