"""Data sets that TensorFlow Datasets itself writes, from pictures that are rendered here."""

import tensorflow_datasets as tfds

from tests.data.formats.rendered import SIDE, picture

NUM_TRAIN, NUM_TEST = 11, 4


class RenderedShapes(tfds.core.GeneratorBasedBuilder):
    """Pictures and their numbers; nothing of it is downloaded."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(SIDE, SIDE, 3)),
            "label": tfds.features.ClassLabel(num_classes=20),
            "boxes": tfds.features.Sequence(tfds.features.BBoxFeature()),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        del dl_manager
        return {
            "train": self._generate_examples(0, NUM_TRAIN),
            "test": self._generate_examples(NUM_TRAIN, NUM_TEST),
        }

    def _generate_examples(self, first, count):
        for number in range(first, first + count):
            boxes = [tfds.features.BBox(0.0, 0.25, 0.5, 1.0)] * (number % 3)
            yield number, {"image": picture(number), "label": number, "boxes": boxes}


def write(builder, file_format, num_shards=1):
    """What `tfds.builder(...).download_and_prepare()` writes, in several files."""
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(num_shards=num_shards)
    builder.download_and_prepare(file_format=file_format, download_config=config)


def write_as(name, data_dir, examples, file_format="array_record"):
    """A published data set, with its own name, version and features, but other examples.

    Args:
        name: such as "mnist".
        data_dir: where data sets are kept.
        examples: of each split by its name.
        file_format: of its files.
    """
    builder = tfds.builder(name, data_dir=str(data_dir))

    def generators(dl_manager):
        del dl_manager  # nothing is downloaded
        return {split: iter(enumerate(made)) for split, made in examples.items()}

    builder._split_generators = generators
    write(builder, file_format)
