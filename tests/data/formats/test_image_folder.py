import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.data.formats.reading import read_all
from tests.data.formats.rendered import picture, write
from tfscale.data import images
from tfscale.data.formats import image_folder
from tfscale.errors import ConfigError

FILES = {"b cat": ["2.png", "10.PNG"], "a-dog": ["x.png"], "Zebra": ["1.png", "3.png"]}


@pytest.fixture
def folder(tmp_path):
    for at, (name, files) in enumerate(FILES.items()):
        for file in files:
            write(tmp_path / "train" / name / file, picture(10 * at + len(file)))
        write(tmp_path / "validation" / name / "v.png", picture(at))
    return tmp_path


def _read(folder, split):
    classes = image_folder.class_names(str(folder / "train"))
    return image_folder.records(str(folder / split), classes)


def test_classes_are_numbered_by_their_sorted_names(folder):
    assert image_folder.class_names(str(folder / "train")) == ["Zebra", "a-dog", "b cat"]


def test_every_image_comes_once_with_the_number_of_its_class(folder):
    records = read_all(_read(folder, "train"))
    start = len(str(folder / "train")) + 1
    found = [(record["path"].decode()[start:], int(record["label"])) for record in records]
    assert found == [
        *[("Zebra/1.png", 0), ("Zebra/3.png", 0), ("a-dog/x.png", 1)],
        *[("b cat/10.PNG", 2), ("b cat/2.png", 2)],
    ]


def test_paths_lead_to_the_pixels_that_were_written(folder):
    collection = _read(folder, "validation")
    decoded = [images.decode(tf.io.read_file(one["path"])) for one in read_all(collection)]
    for image, at in zip(decoded, [2, 1, 0], strict=True):
        np.testing.assert_array_equal(image, picture(at))
    assert collection.place_of(1) == str(folder / "validation" / "a-dog" / "v.png")


def test_the_same_files_elsewhere_have_the_same_checksum_and_others_another(folder):
    before = _read(folder, "train").checksum
    shutil.copytree(folder / "train", folder / "copy" / "train")
    assert _read(folder / "copy", "train").checksum == before
    (folder / "train" / "Zebra" / "1.png").rename(folder / "train" / "a-dog" / "1.png")
    assert _read(folder, "train").checksum != before


def test_hidden_files_and_what_lies_beside_the_classes_are_no_images(folder):
    for name in (".DS_Store", "train/.cache/x.png", "train/README.txt", "train/Zebra/Thumbs.db"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert _read(folder, "train").num_records == 5


def test_an_empty_class_is_refused_by_its_folder(folder):
    (folder / "train" / "a-dog" / "x.png").unlink()
    with pytest.raises(ConfigError, match="train/a-dog holds no images"):
        _read(folder, "train")


@pytest.mark.parametrize("name", ["labels.csv", "more/1.png"])
def test_what_is_no_image_in_a_class_is_refused_by_its_name(folder, name):
    path = folder / "train" / "Zebra" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(ConfigError, match=f"train/Zebra/{name.split('/')[0]} is no image"):
        _read(folder, "train")


def test_an_image_of_no_class_is_refused_by_its_name(folder):
    write(folder / "train" / "lost.jpg", picture(1))
    with pytest.raises(ConfigError, match=r"train/lost.jpg belongs to no class"):
        _read(folder, "train")


def test_a_validation_without_one_of_the_classes_is_refused(folder):
    shutil.rmtree(folder / "validation" / "Zebra")
    with pytest.raises(ConfigError, match=r"lacks 'Zebra' and has none besides"):
        _read(folder, "validation")


def test_a_validation_with_another_class_is_refused(folder):
    write(folder / "validation" / "horse" / "1.png", picture(1))
    with pytest.raises(ConfigError, match=r"lacks none and has 'horse' besides"):
        _read(folder, "validation")


def test_a_folder_that_is_missing_or_has_no_classes_is_refused(folder):
    with pytest.raises(ConfigError, match=r"nowhere can't be read \(No such file.*train/cat/1.jpg"):
        _read(folder, "nowhere")
    with pytest.raises(ConfigError, match=r"Zebra has no folders; expected one for each class"):
        image_folder.records(str(folder / "train" / "Zebra"))


def test_other_extensions_can_be_asked_for(folder):
    folder = str(folder / "train")
    with pytest.raises(ConfigError, match="is no image by its name; expected only .* .webp"):
        image_folder.records(folder, extensions=(".webp",))


# However the folders lie.


def _split(folder, split="train", **settings):
    return image_folder.split_records(str(folder), split, **settings)


def _paths(collection):
    return [record["path"].decode() for record in read_all(collection)]


def test_each_split_has_its_folder_with_the_classes_of_training(folder):
    assert _split(folder).classes == ("Zebra", "a-dog", "b cat")
    assert (_split(folder).num_records, _split(folder, "validation").num_records) == (5, 3)
    assert _split(folder, "test") is None


def test_a_split_may_have_another_name(folder):
    (folder / "train").rename(folder / "Training")
    folders = {"train": "Training"}
    assert _split(folder, folders=folders).num_records == 5
    with pytest.raises(ConfigError, match="has .*'validation', and no folder 'train'"):
        _split(folder)


@pytest.mark.parametrize("layout", ["train only", "no splits"])
def test_a_part_of_training_validates_where_there_is_no_folder_for_it(folder, layout):
    shutil.rmtree(folder / "validation")
    data_dir = folder if layout == "train only" else folder / "train"
    assert _split(data_dir, "validation") is None
    assert _split(data_dir).num_records == 5
    settings = {"validation_fraction": 0.4, "seed": 3}
    parts = [_split(data_dir, split, **settings) for split in ("train", "validation")]
    assert [part.num_records for part in parts] == [3, 2]
    paths = [_paths(part) for part in parts]
    assert sorted(sum(paths, [])) == sorted(_paths(_split(data_dir)))
    assert parts[1].place_of(1) == paths[1][1]
    assert len({part.checksum for part in parts}) == 2
    assert parts[0].classes == ("Zebra", "a-dog", "b cat")


def test_a_folder_and_a_fraction_are_not_both_validation(folder):
    with pytest.raises(ConfigError, match=r"validation is there, and validation_fraction = 0\.5"):
        _split(folder, "validation", validation_fraction=0.5)


def test_the_folder_of_another_split_is_no_class(folder):
    (folder / "train").rename(folder / "val")
    shutil.rmtree(folder / "validation")
    with pytest.raises(ConfigError, match="has 'val', and no folder 'train'"):
        _split(folder)
