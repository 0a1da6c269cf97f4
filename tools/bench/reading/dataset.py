"""The dataset file of what lies in files, as a user would write it over the library's formats."""

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import array_record, image_folder, tfds, tfrecord
from tfscale.structures import Structure
from tools.bench.reading import files
from tools.bench.reading.formats import NUM_CLASSES, example_of, record_files

data_set = "tfrecord"  # one of `FORMATS` whose records lie in files
num_classes = NUM_CLASSES
splits = ("train",)


def load(split: str, data_dir: str) -> Collection:
    """Gives the records of the data set that `data_set` names."""
    if data_set == "image_folder":
        return image_folder.records(f"{data_dir}/{data_set}/{split}")
    if data_set == "tfds":
        return tfds.records(files.TFDS_NAME, split, f"{data_dir}/{data_set}", decode_images=False)
    written = record_files(data_dir, data_set)
    if data_set == "array_record":
        return array_record.records(written)
    return tfrecord.records(written)


def preprocess(record: Structure, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes `(x, y)` of a record."""
    del training
    return example_of(data_set, record)
