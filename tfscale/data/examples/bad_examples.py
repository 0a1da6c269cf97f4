"""Records of which no example can be made: skipped one by one, counted and named, or the end.

By default the first one ends the run, with the name of its file. With `--max_bad_examples` so many
are skipped: in training the next record of the split stands in for one, so that every step keeps
its size and its place on all workers; an evaluation leaves it out. Which ones are bad is a property
of the data, so that any number of workers finds the same.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfscale.data.batching import parallelism, without_autotune
from tfscale.data.sharding import Places
from tfscale.data.sources.source import Source
from tfscale.errors import ConfigError, describe_failure, one_line
from tfscale.structures import Foreign, Structure

_STAND_INS = 8  # records in a row that are tried in the place of a bad one

Make = Callable[..., Structure]  # of the parts of a place


class BadExamples:
    """The bad records that one worker has met in a split.

    Args:
        source: the split.
        most: how many may be skipped.
    """

    def __init__(self, source: Source, most: int) -> None:
        self._source, self._most = source, most
        self._found: dict[object, int] = {}  # by what tells a record from others
        self._turn = threading.Lock()

    @property
    def are_skipped(self) -> bool:
        """Whether a bad record may be met at all."""
        return self._most > 0

    @property
    def found(self) -> tuple[int, ...]:
        """Numbers of the records, sorted."""
        with self._turn:
            return tuple(sorted(self._found.values()))

    def training(self, places: Places, make: Make) -> tf.data.Dataset:
        """Examples of places, in their order; the next good record stands in for a bad one.

        Args:
            places: of the records, read singly where some are skipped.
            make: of the parts of what `fetch` gives.
        """
        size = self._source.num_examples

        def stand_ins(*place: Structure) -> Iterator[tf.data.Dataset]:
            if not self._source.has_index:
                yield (
                    self._noted(places, place)
                    .filter(lambda _: False)
                    .map(lambda _: make(*places.fetch(*place)))
                )
                return
            noted = self._noted(places, place)
            for attempt in range(1, _STAND_INS + 1):
                index, epoch = place
                other = ((index + attempt) % size, epoch)
                yield noted.map(lambda _, other=other: make(*places.fetch(*other))).ignore_errors()
            yield noted.map(lambda _: self._nobody(make(*places.fetch(*place)), place[0]))

        return self._try_each(places, make, stand_ins)

    def evaluation(self, places: Places, make: Make, nothing: Structure) -> tf.data.Dataset:
        """Rows of places, in their order; in the place of a bad one stands `nothing`.

        Args:
            places: of the records.
            make: gives `(index, example)`.
            nothing: a row that only fills up.
        """

        def stand_ins(*place: Structure) -> Iterator[tf.data.Dataset]:
            yield self._noted(places, place).map(lambda _: nothing)

        return self._try_each(places, make, stand_ins)

    def _try_each(
        self, places: Places, make: Make, stand_ins: Callable[..., Iterator[tf.data.Dataset]]
    ) -> tf.data.Dataset:
        if not self.are_skipped:
            return places.elements.map(
                lambda *place: make(*places.fetch(*place)),
                num_parallel_calls=parallelism(),
                deterministic=True,
            )

        def one(*place: Structure) -> tf.data.Dataset:
            found = tf.data.Dataset.from_tensors(0).map(lambda _: make(*places.fetch(*place)))
            found = found.ignore_errors()
            for other in stand_ins(*place):
                found = found.concatenate(other)
            return found.take(1)

        return places.elements.interleave(
            one,
            cycle_length=2 * parallelism(),
            num_parallel_calls=parallelism(),
            deterministic=True,
        )

    def _noted(self, places: Places, place: tuple[Structure, ...]) -> tf.data.Dataset:
        """One element, whose making writes the bad record down."""
        index = places.index_of(place[0])

        # A stream numbers a record anew in each pass: it is known by its contents.
        contents = () if self._source.has_index else tf.nest.flatten(place[1])

        def note(_: tf.Tensor) -> tf.Tensor:
            return tf.numpy_function(self._note, [index, *contents], tf.int64)

        return tf.data.Dataset.from_tensors(0).map(note)

    def _note(self, index: np.int64, *contents: Foreign) -> np.int64:
        key = tuple(repr(np.asarray(leaf).tolist()) for leaf in contents) or int(index)
        with self._turn:
            self._found.setdefault(key, int(index))
        self.require_few(self.found)
        return index

    def names(self, found: Iterable[int]) -> list[str]:
        """Where records of these numbers lie."""
        return [self._source.place_of(index) for index in found]

    def require_few(self, found: Sequence[int]) -> None:
        """Refuses more bad records than may be skipped.

        Raises:
            ConfigError: there are more.
        """
        if len(found) > self._most:
            raise ConfigError(self.too_many(found))

    def too_many(self, found: Sequence[int]) -> str:
        """The reason to end for more bad records than may be skipped."""
        return (
            f"{self._source.name} has {len(found)} bad records and perhaps more, such as "
            f"{self._source.place_of(found[-1])}; expected at most --max_bad_examples={self._most}."
            " Mend the data, or allow more."
        )

    def _nobody(self, example: Structure, index: tf.Tensor) -> Structure:
        none = tf.debugging.Assert(
            tf.constant(False),
            [
                f"{self._source.name}: no example can be made of {_STAND_INS + 1} records from",
                index,
            ],
        )
        with tf.control_dependencies([none]):
            return tf.nest.map_structure(tf.identity, example)


@tf.autograph.experimental.do_not_convert  # the user's functions come converted
def first_bad(source: Source, places: Places, make: Make, count: int) -> Exception | None:
    """An error that says where the first bad one of some records lies, and what is wrong with it.

    Args:
        source: the split, read singly.
        places: of this worker's records, from the first one that may be bad.
        make: of the parts of a place.
        count: how many are looked at.

    Returns:
        A ConfigError, unless a disk or a server may do better the next time; None for none.
    """

    def tried(*place: Structure) -> Structure:
        # All of it: what nobody takes, TensorFlow may leave unread and unmade.
        return make(*places.fetch(*place))

    done, where = 0, "a record"
    # An error comes at the place of its record, so that those before it can be counted.
    all_tried = places.elements.map(tried, parallelism(), deterministic=True).take(count)
    try:
        for _ in without_autotune(all_tried):
            done += 1
        return None
    except tf.errors.OpError as error:
        reason = one_line(error)
    try:
        for place in places.elements.skip(done).take(1):
            where = source.place_of(int(places.index_of(place[0])))
            make(*places.fetch(*place))
    except Exception as error:  # outside of a graph it says more
        reason, _ = describe_failure(error)
    # What reads files says by itself where the record lies.
    told = reason if reason.startswith(where) else f"{where}: {reason}"
    # The type of what Python raises below TensorFlow stands in TensorFlow's text alone.
    kind = RuntimeError if "OSError: " in reason else ConfigError
    return kind(f"{source.name}: {told}")
