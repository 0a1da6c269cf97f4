"""PyTorch's DataLoader with a process for each core; pictures are decoded and resized by Pillow."""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tfscale.data.formats import array_record, image_folder, record_index
from tfscale.process.cores import num_cores
from tfscale.structures import Foreign, Structure
from tools.bench.reading import files
from tools.bench.reading.formats import BORDER, FORMATS, SIDE, SIZE, ReadingTask, record_files

_ENDLESS = 2**40  # examples; more epochs than anybody waits for, without a gap between them

Example: TypeAlias = tuple[NDArray[np.uint8], int]


def prepare(task: ReadingTask, name: str) -> Callable[[], Structure]:
    """Gives what makes the next batch of a data set."""
    import torch

    examples = _examples(task, name)
    loader = torch.utils.data.DataLoader(
        examples,
        FORMATS[name].batch,
        sampler=torch.utils.data.RandomSampler(examples, num_samples=_ENDLESS),
        num_workers=num_cores(),
        # The package of ArrayRecord doesn't work in a process that was forked after its first use.
        multiprocessing_context="spawn" if name == "array_record" else "fork",
        drop_last=True,
    )
    iterator = iter(loader)
    return lambda: next(iterator)


def _examples(task: ReadingTask, name: str) -> Foreign:
    if name == "memory":
        return _InMemory(task.folder)
    if name == "image_folder":
        return _ImageFolder(f"{task.folder}/{name}/train")
    if name == "array_record":
        return _ArrayRecords(record_files(task.folder, name))
    folder = f"{task.folder}/{name}"
    found = sorted(str(path) for path in Path(folder).rglob("*.tfrecord*"))
    paths = [path for path in found if not path.endswith(record_index.INDEX_SUFFIX)]
    return _TFRecords(paths, is_picture=name in ("tfrecord", "tfds"))


def _picture(data: bytes) -> NDArray[np.uint8]:
    """The pixels that `formats.picture_of` makes, by Pillow: uint8 (224, 224, 3)."""
    from PIL import Image

    inner = (BORDER, BORDER, SIDE - BORDER, SIDE - BORDER)
    image = Image.open(BytesIO(data)).convert("RGB")
    resized = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, inner)
    return np.array(resized)


def _parsed(record: bytes) -> Example:
    """A picture and its class, of a serialized `tf.train.Example`."""
    from tensorflow.core.example import example_pb2

    features = example_pb2.Example.FromString(record).features.feature
    return _picture(features["image"].bytes_list.value[0]), features["label"].int64_list.value[0]


class _TFRecords:
    """Records of TFRecord files by their indexes."""

    def __init__(self, paths: list[str], *, is_picture: bool) -> None:
        self._paths, self._is_picture = paths, is_picture
        indexes = record_index.indexes_of(paths)
        self._files = np.repeat(np.arange(len(paths)), [len(index) for index in indexes])
        self._offsets = np.concatenate([index.offsets for index in indexes])
        self._sizes = np.concatenate([index.sizes for index in indexes])
        self._opened: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, number: int) -> Example:
        file = int(self._files[number])
        if file not in self._opened:
            self._opened[file] = os.open(self._paths[file], os.O_RDONLY)
        start = int(self._offsets[number]) + record_index.HEADER_BYTES
        size = int(self._sizes[number]) - record_index.FRAME_BYTES
        record = os.pread(self._opened[file], size, start)
        return _parsed(record) if self._is_picture else (np.frombuffer(record, np.uint8).copy(), 0)


class _ArrayRecords:
    """Records of ArrayRecord files; each process opens them itself, with threads of its own."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._source: Foreign = None
        self._count = sum(array_record.count(path) for path in paths)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Example:
        if self._source is None:
            from array_record.python.array_record_data_source import ArrayRecordDataSource

            self._source = ArrayRecordDataSource(self._paths)
        return _parsed(self._source[number])


class _ImageFolder:
    """Files in folders of their classes."""

    def __init__(self, folder: str) -> None:
        self._files = [
            (f"{folder}/{name}/{file}", label)
            for label, name in enumerate(image_folder.class_names(folder))
            for file in sorted(os.listdir(f"{folder}/{name}"))
        ]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Example:
        path, label = self._files[number]
        return _picture(Path(path).read_bytes()), label


class _InMemory:
    """Pixels that are there."""

    def __init__(self, folder: str) -> None:
        self._pictures, self._labels = files.in_memory(folder)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: int) -> Example:
        return self._pictures[number], int(self._labels[number])
