"""What a split's records are, and how they are reached.

Read `dataset_file` (what a user's file says), then `source`, which decides once what kind of split
it is: records that are reached by an index (`indexed`), given by a format, taken from a dataset of
the user's (`dataset_graph`, with `file_datasets`) or held in memory (`in_memory`); or `streams`,
which are read from their beginning in one order (`stream_order`). `shuffle_seeds` and `determinism`
refuse what would differ between workers, `batch_check` batches where single records belong;
`once_per_file_system` prepares what all need, `statistics` learns it from the training data.
"""
