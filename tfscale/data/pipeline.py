"""From records to the batches of this worker's replicas.

Each worker takes its share first and does expensive work only on that. Evaluation pads the last
step, so that every replica has the same shapes and each example is seen exactly once; an index of
-1 marks a padded row.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfscale.data.dataset_file import DatasetFile
from tfscale.data.examples import as_record, example_function, example_spec, without_autotune
from tfscale.data.feed import Input
from tfscale.data.records import Records
from tfscale.data.sharding import Sharding, pass_order, shuffled
from tfscale.errors import ConfigError
from tfscale.process.cores import num_cores

_SHUFFLE_BUFFER = 10_000
_FILES_AT_ONCE = 4
_LEAST_PREFETCHED, _MOST_PREFETCHED = 2, 16  # steps
_PREFETCHED_BYTES = 2**24
_RECORDS_AT_ONCE = 256


def training_input(
    dataset: DatasetFile,
    records: Records,
    sharding: Sharding,
    strategy: tf.distribute.Strategy,
    *,
    seed: int,
    steps_per_epoch: int = 0,
) -> Input:
    """The endless training batches.

    Args:
        dataset: says how a record becomes an example.
        records: of the train split.
        sharding: this worker's share.
        strategy: whose replicas take the batches.
        seed: of the order and of augmentation.
        steps_per_epoch: steps of an epoch, 0 for as many as there are examples for.

    Raises:
        ConfigError: too few examples, or an unknown number of them and no `steps_per_epoch`.
    """
    steps = steps_per_epoch or _steps_of(records, dataset, sharding)
    make_example = example_function(dataset, training=True, seed=seed)
    spec, finish = example_spec(dataset, records, make_example, training=True)

    def one(record: Any, index: tf.Tensor, epoch: tf.Tensor) -> Any:  # noqa: ANN401
        return finish(make_example(record, index, epoch), index)

    if dataset.read is None and records.is_enumerable:
        examples = _enumerated_examples(
            records, sharding, seed=seed, one=one, at_once=_can_be_taken_at_once(dataset, records)
        )
    else:
        examples = _streamed_examples(dataset, records, sharding, seed=seed, one=one)
    batch = _batched_spec(spec, sharding.replica_batch)
    ahead = _prefetched_steps(batch)
    return Input(
        lambda: _with_own_threads(examples().prefetch(ahead * sharding.local_replicas)),
        strategy,
        steps=steps,
        spec=batch,
        description=_describe(dataset, records, sharding),
        num_examples=None if dataset.read else records.num_records,
        checksum=records.checksum(),
        is_evaluation=False,
    )


def evaluation_input(
    dataset: DatasetFile,
    records: Records,
    sharding: Sharding,
    strategy: tf.distribute.Strategy,
    *,
    seed: int = 0,
) -> Input:
    """Batches `(index, example)` in which every example of a split occurs exactly once.

    `index` is int64 (replica_batch,), in the order of the split; -1 marks padding.

    Raises:
        ConfigError: the split never ends.
    """
    if records.is_infinite:
        raise ConfigError(
            f"{records.name} never ends, so it can't be evaluated as a whole; expected a finite "
            "split. Add .take(...)."
        )
    make_example = example_function(dataset, training=False, seed=seed)
    spec, finish = example_spec(dataset, records, make_example, training=False)
    steps, size = None, None
    if dataset.read is None and records.is_enumerable and records.num_records:
        size = records.num_records
        steps = -(-size // sharding.global_batch)

    def one(record: Any, index: tf.Tensor) -> Any:  # noqa: ANN401
        return index, finish(make_example(record, index, tf.constant(0, tf.int64)), index)

    def enumerated() -> tf.data.Dataset:
        numbers = tf.data.Dataset.range((steps or 0) * sharding.local_replicas).repeat()
        positions = numbers.map(sharding.positions).unbatch()

        def padded(position: tf.Tensor) -> Any:  # noqa: ANN401
            # The last record stands in for the padding: any record that works would do.
            inside = tf.minimum(position, tf.constant((size or 1) - 1, tf.int64))
            _, example = one(records.at(inside), inside)
            return tf.where(position < (size or 1), position, tf.constant(-1, tf.int64)), example

        return positions.map(padded, num_parallel_calls=_parallelism(), deterministic=True)

    def streamed() -> tf.data.Dataset:
        padding = tf.nest.map_structure(lambda leaf: tf.zeros(leaf.shape, leaf.dtype), spec)
        padding_rows = tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), padding)).repeat()
        own = _own_records(dataset, records, sharding).enumerate()
        return own.map(
            lambda number, record: one(record, number * sharding.num_workers + sharding.worker),
            num_parallel_calls=_parallelism(),
            deterministic=True,
        ).concatenate(padding_rows)

    rows = enumerated if steps else streamed
    return Input(
        lambda: _with_own_threads(
            rows()
            .batch(sharding.replica_batch, drop_remainder=True)
            .prefetch(_LEAST_PREFETCHED * sharding.local_replicas)
        ),
        strategy,
        steps=steps,
        spec=_batched_spec(spec, sharding.replica_batch),
        description=_describe(dataset, records, sharding),
        num_examples=size,
        checksum=records.checksum(),
        is_evaluation=True,
    )


def _steps_of(records: Records, dataset: DatasetFile, sharding: Sharding) -> int:
    if dataset.read is not None or records.num_records is None:
        raise ConfigError(
            f"{records.name} doesn't say how many examples it has; expected --steps_per_epoch "
            "with it. Use for example --steps_per_epoch=1000."
        )
    if records.num_records < sharding.global_batch:
        least = sharding.num_replicas
        fitting = records.num_records // least * least
        advice = (
            f"Use a smaller batch, for example --batch_size={fitting}."
            if fitting
            else f"Use at most {records.num_records} replicas, or more examples."
        )
        raise ConfigError(
            f"{records.name} has {records.num_records} examples, fewer than the "
            f"{sharding.global_batch} of one step on {least} replicas. {advice}"
        )
    return records.num_records // sharding.global_batch


def _can_be_taken_at_once(dataset: DatasetFile, records: Records) -> bool:
    return dataset.preprocess is None and dataset.class_weight is None and records.has_fixed_shapes


def _enumerated_examples(
    records: Records,
    sharding: Sharding,
    *,
    seed: int,
    one: Callable[..., Any],
    at_once: bool,
) -> Callable[[], tf.data.Dataset]:
    """Replica batches from slices of the one global order."""

    def of_pass(epoch: tf.Tensor) -> tf.data.Dataset:
        order = pass_order(epoch, num_examples=int(records.num_records or 0), seed=seed)
        own = sharding.own_batches(order)
        batches = own if at_once else (own, tf.fill(tf.shape(own), epoch))
        return tf.data.Dataset.from_tensor_slices(batches)

    def make() -> tf.data.Dataset:
        slices = tf.data.Dataset.counter().flat_map(of_pass)
        if at_once:
            # Taking records costs a call however many they are.
            steps = max(1, _RECORDS_AT_ONCE // sharding.replica_batch)
            return slices.batch(steps).map(records.at).unbatch()
        return (
            slices.unbatch()
            .map(
                lambda index, epoch: one(records.at(index), index, epoch),
                num_parallel_calls=_parallelism(),
                deterministic=True,
            )
            .batch(sharding.replica_batch, drop_remainder=True)
        )

    return make


def _streamed_examples(
    dataset: DatasetFile,
    records: Records,
    sharding: Sharding,
    *,
    seed: int,
    one: Callable[..., Any],
) -> Callable[[], tf.data.Dataset]:
    """Replica batches from this worker's part of a stream, shuffled within a buffer."""

    def make() -> tf.data.Dataset:
        own = _own_records(dataset, records, sharding, endless=True, seed=seed)
        shuffled_own = own.shuffle(_SHUFFLE_BUFFER, seed=seed + sharding.worker)
        # A stream starts again when all of it was seen; files go on in another order by themselves.
        numbered = (shuffled_own if dataset.read else shuffled_own.repeat()).enumerate()
        # A stream has no index; a number of its own for each record is what augmentation needs.
        return numbered.map(
            lambda number, record: one(
                record, number * sharding.num_workers + sharding.worker, tf.constant(0, tf.int64)
            ),
            num_parallel_calls=_parallelism(),
            deterministic=True,
        ).batch(sharding.replica_batch, drop_remainder=True)

    return make


def _own_records(
    dataset: DatasetFile,
    records: Records,
    sharding: Sharding,
    *,
    endless: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """This worker's part of a stream: its own files where there are enough, else every n-th."""
    workers, worker = sharding.num_workers, sharding.worker
    if dataset.read is None:
        return records.stream.shard(workers, worker)
    if not records.is_enumerable or not records.num_records:
        raise ConfigError(
            f"{records.name} must list its files for read(); expected a dataset of known, small "
            "size. Give it for example with tf.data.Dataset.from_tensor_slices(names)."
        )
    count = records.num_records
    by_file = count >= workers
    share = (workers, worker) if by_file else (1, 0)
    if endless:
        numbers = tf.data.Dataset.counter().shard(*share)

        def file_at(number: tf.Tensor) -> Any:  # noqa: ANN401
            index, _ = shuffled(number[tf.newaxis], num_examples=count, global_batch=1, seed=seed)
            return records.at(index[0])

        files = numbers.map(file_at)
    else:
        files = tf.data.Dataset.range(count).shard(*share).map(records.at)
    read_file = dataset.read
    files_at_once = max(1, min(_FILES_AT_ONCE, count // workers))
    read = files.interleave(
        lambda *parts: read_file(as_record(records.stream, parts)),
        cycle_length=files_at_once,
        num_parallel_calls=min(files_at_once, _parallelism()),
        deterministic=True,
    )
    return read if by_file else read.shard(workers, worker)


def _with_own_threads(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Whoever waits for the next batch may hold a thread of the steps' pool: see `next_of`."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = _parallelism()
    return without_autotune(dataset).with_options(options)


def _batched_spec(spec: Any, batch: int) -> Any:  # noqa: ANN401
    return tf.nest.map_structure(lambda leaf: tf.TensorSpec([batch, *leaf.shape], leaf.dtype), spec)


def _prefetched_steps(batch: Any) -> int:  # noqa: ANN401
    """As many steps as a little memory holds: a short step must not wake a thread each time."""
    sizes = [
        (leaf.shape.num_elements() or _PREFETCHED_BYTES) * max(leaf.dtype.size, 1)
        for leaf in tf.nest.flatten(batch)
    ]
    return int(min(max(_PREFETCHED_BYTES // sum(sizes), _LEAST_PREFETCHED), _MOST_PREFETCHED))


def _parallelism() -> int:
    return max(2, num_cores())


def _describe(dataset: DatasetFile, records: Records, sharding: Sharding) -> str:
    if dataset.read is None and records.is_enumerable:
        return (
            f"{records.num_records} records, in an order of seed and epoch alone; each worker "
            f"takes {sharding.worker_batch} of the {sharding.global_batch} of each step"
        )
    if dataset.read is not None and (records.num_records or 0) >= sharding.num_workers:
        return f"{records.num_records} files; each worker reads its own, shuffled within a buffer"
    return "a stream; each worker takes every n-th record, shuffled within a buffer"
