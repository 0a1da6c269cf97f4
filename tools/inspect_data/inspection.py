"""Goes through the first examples of a split once, and says what they are."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import tensorflow as tf

from tfscale.data.batching import parallelism, unread, without_autotune
from tfscale.data.examples.examples import ExampleMaker, first_examples
from tfscale.data.formats.photo_notes import notes_of
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.source import Source, source_of
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Structure
from tools.inspect_data import suspicions
from tools.inspect_data.figures import Figures, named_leaves
from tools.inspect_data.labels import classes_of, count_rows
from tools.inspect_data.pictures import Labels, image_of, scale_of, write_grid
from tools.inspect_data.suspicions import Seen

_MOST_SHOWN = 48  # examples of a picture
_BATCH = 32  # of the stage that makes batches
_MAKING, _IN_BATCHES = "reading and preprocessing", f"the same in batches of {_BATCH}"
_CHUNKS = 10  # of a stage that is timed
_SEED = 0
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG")  # what a JPEG and a PNG begin with
_ENDINGS = (b".jpg", b".jpeg", b".png")


@dataclass
class Inspection:
    """What was found.

    Args:
        split: its name.
        num_examples: how many were looked at.
        of: how many the split has, or None where only reading tells.
        figures: of each tensor, by its name.
        counts: how often each class came, by the name of the tensor that says so.
        rates: examples a second by stage.
        shown: the first examples, for a picture.
        seen: hashes of x.
        warnings: what looks wrong, a line each.
        picture: what was drawn, or why nothing was.
        num_classes: of the dataset file or its records, or None.
        classes: their names, where they are known.
    """

    split: str
    num_examples: int = 0
    of: int | None = None
    figures: dict[str, Figures] = field(default_factory=dict)
    counts: dict[str, Counter[int]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    shown: list[Structure] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    warnings: list[str] = field(default_factory=list)
    picture: str = ""
    num_classes: int | None = None
    classes: tuple[str, ...] = ()

    def tables(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Title and rows of what there is to show."""
        looked_at = f"all {self.num_examples}"
        if self.num_examples != self.of:
            looked_at = f"the first {self.num_examples} of {self.of or 'an unknown number'}"
        yield (
            f"split {self.split}",
            {
                "examples": looked_at,
                **{name: one.described() for name, one in self.figures.items()},
                "picture": self.picture,
            },
        )
        for name, counts in self.counts.items():
            limit = _limit(name, self.num_classes)
            yield f"classes of {name}", count_rows(counts, limit, self.classes)
        yield "examples a second", {name: f"{rate:.0f}" for name, rate in self.rates.items()}


def inspect_split(
    file: DatasetFile, split: str, num_examples: int = 1000, out: str = ""
) -> Inspection:
    """Looks at a split, and compares it with the other splits of the file.

    Examples of "train" are made as in the first epoch of a training with seed 0, those of other
    splits as in an evaluation. To find an x in two splits, both are made as in an evaluation.

    Args:
        file: the user's dataset file.
        split: its name.
        num_examples: how many of each split are looked at, from the first on; 0 means all.
        out: path of a PNG with a grid of the first ones; "" for none.

    Raises:
        ConfigError: the file can't be used, has no such split, or an example fails.
    """
    _require_usable(split, num_examples, out)
    source = _source(file, split)
    if source is None:
        raise ConfigError(
            f"{file.name} has no split {split!r}; expected one of {', '.join(file.splits)}."
        )
    if not num_examples and source.is_infinite:
        raise ConfigError(f"{source.name} never ends; expected --examples=N, for example 1000.")
    if file.num_classes is None and source.classes:
        file = replace(file, num_classes=len(source.classes))
    stages = _stages(file, source, num_examples, training=split == "train")
    found = Inspection(split, of=source.num_examples, num_classes=file.num_classes)
    found.classes = source.classes
    for example in _read(source.name, stages[_MAKING]):
        _add(found, example, file.task)
    others = {split: found.seen}
    for name in dict.fromkeys([split, *file.splits]):
        seen = _seen(file, name, num_examples)
        if seen is not None:
            others[name] = seen
    found.seen = others.pop(split)
    sizes = {_IN_BATCHES: _BATCH}
    timed = {name: (stage, sizes.get(name, 1)) for name, stage in stages.items()}
    found.rates = examples_per_second(timed, found.num_examples)
    found.warnings = list(_warnings(file, found, others))
    if note := notes_of(_photos(stages["reading"])):
        found.warnings.append(f"{note}.")
    found.picture = _picture(found, out, file.task)
    return found


def _require_usable(split: str, num_examples: int, out: str) -> None:
    if num_examples < 0:
        raise ConfigError(f"--examples={num_examples} can't be; expected 1 or more, or 0 for all.")
    if out and (Path(out).suffix.lower() != ".png" or not Path(out).parent.is_dir()):
        raise ConfigError(
            f"--out={out} can't be written; expected a file named .png in a folder that is there. "
            f"Use for example --out={split}.png"
        )


def _source(file: DatasetFile, split: str) -> Source | None:
    """The split, or None: `load` may also say by an error that it knows no such split."""
    if split not in file.splits:
        raise ConfigError(
            f"{file.name} has no split {split!r}; expected one of {', '.join(file.splits)}."
        )
    return source_of(file, split)


@tf.autograph.experimental.do_not_convert  # the user's functions come converted
def _stages(
    file: DatasetFile, source: Source, num_examples: int, *, training: bool
) -> dict[str, tf.data.Dataset]:
    """Datasets by the last of their stages."""
    make = ExampleMaker(file, training=training, seed=_SEED)
    # A label that is no class is told of with the others, and not refused.
    any_label = replace(file, num_classes=None)
    finish = first_examples(any_label, source, make, training=training).finish
    records = source.records.take(num_examples or -1)

    def example(number: tf.Tensor, record: Structure) -> Structure:
        return finish(make(record, number, tf.constant(0, tf.int64)), number)

    examples = records.enumerate().map(example, num_parallel_calls=parallelism())
    stages = {
        "reading": records,
        _MAKING: examples,
        _IN_BATCHES: examples.batch(_BATCH),
    }
    return {name: without_autotune(stage) for name, stage in stages.items()}


def _read(name: str, examples: tf.data.Dataset) -> Iterator[Structure]:
    try:
        yield from examples.as_numpy_iterator()
    except Exception as error:
        raise ConfigError(f"{name} failed: {one_line(error)}") from error


def examples_per_second(
    stages: Mapping[str, tuple[tf.data.Dataset, int]], num_examples: int
) -> dict[str, float]:
    """How many examples a second each stage gives on this machine, one after the other.

    Args:
        stages: by name a dataset of all stages up to this one, and how many examples each of its
            elements has. They were read before, so that files come from the page cache, as they
            do in later epochs if they fit.
        num_examples: that each of them has.

    Returns:
        Examples a second by the name of the stage. The first tenth isn't counted, in which it
        starts, unless there is nothing else.
    """
    rates = {}
    for name, (stage, per_element) in stages.items():
        chunk = max(1, -(-num_examples // per_element) // _CHUNKS)
        before = time.perf_counter()
        chunks = iter(unread(stage).batch(chunk))
        next(chunks)
        first = time.perf_counter()
        has_more = sum(1 for _ in chunks) > 0
        seconds = time.perf_counter() - (first if has_more else before)
        rates[name] = (num_examples - chunk * per_element * has_more) / seconds
    return rates


def _add(found: Inspection, example: Structure, task: str) -> None:
    for name, leaf in named_leaves(example).items():
        found.figures.setdefault(name, Figures.like(leaf)).add(leaf)
    for name, classes in classes_of(example[1], task).items():
        found.counts.setdefault(name, Counter()).update(classes)
    if len(found.shown) < _MOST_SHOWN:
        found.shown.append(example)
    found.num_examples += 1


def _seen(file: DatasetFile, split: str, num_examples: int) -> Seen | None:
    """The x of a split, made as in an evaluation; None where there is none, or it never ends."""
    source = _source(file, split)
    if source is None or (source.is_infinite and not num_examples):
        return None
    stages = _stages(file, source, num_examples, training=False)
    seen = Seen()
    for number, example in enumerate(_read(source.name, stages[_MAKING])):
        seen.add(example[0], number)
    return seen


def _photos(records: tf.data.Dataset) -> Iterator[str | bytes]:
    """What of raw records is a photo, or the path of one."""
    for record in records:
        for leaf in tf.nest.flatten(record):
            if isinstance(leaf, tf.Tensor) and leaf.dtype == tf.string and leaf.shape.rank == 0:
                data = leaf.numpy()
                if data.startswith(_MAGIC):
                    yield data
                elif data.lower().endswith(_ENDINGS):
                    yield os.fsdecode(data)


def _warnings(file: DatasetFile, found: Inspection, others: dict[str, Seen]) -> Iterator[str]:
    yield from suspicions.of_figures(found.figures)
    for name, counts in found.counts.items():
        yield from suspicions.of_classes(name, counts, _limit(name, file.num_classes))
    if file.task == "classification":
        for name in found.figures.keys() - found.counts.keys():
            yield from suspicions.of_label_maps(name, found.figures[name], file.num_classes)
    yield from suspicions.of_repeats(found.split, found.seen, others)


def _limit(name: str, num_classes: int | None) -> int | None:
    """How many classes a tensor has; of several outputs each has a number of its own."""
    return num_classes if name == "y" or name.endswith("['classes']") else None


def _picture(found: Inspection, out: str, task: str) -> str:
    name = image_of(found.figures)
    if name is None:
        return "none: x has no image, neither (height, width) nor (height, width, 1, 3 or 4)"
    if not out:
        return "none: --out=FILE.png draws one"
    scale = scale_of(found.figures[name])
    return write_grid(out, found.shown, name, scale, Labels(task, found.classes))
