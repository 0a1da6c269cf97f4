"""From the dataset file to each replica's batches.

Read `dataset_file`, then `source`, which says once what kind of split it is, and the kinds:
`records` (held in memory, reached by an index) and `streams` (files, or a stream). `sharding` says
who takes which examples, `examples` and `class_weights` what is made of a record. The batches are
laid out by `training_batches`, `evaluation_batches` and, for `predict`, `given`, handed out by
`feed`, and gathered by `splits`.

`formats` gives the records of files as a `collection`, and `taken_apart` those that a dataset of
the user's is made of. `augment` is for the users' own `preprocess`, `inspect` shows what a dataset
file gives, and `prepare` writes a split as files, of the `split_records` that `load` gives, in
`shards` by several processes.
"""
