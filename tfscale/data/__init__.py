"""From the dataset file to each replica's batches.

Read `dataset_file` (what a user's file says), then `source`, which decides once what kind of split
it is: a `collection` of records that are reached by an index (`indexed`), given by `formats`,
taken from a dataset of the user's (`taken_apart`, with `file_datasets`) or held in memory
(`records`); or `streams`, which are read from their beginning in one order (`stream_order`).
`shuffles` and `randomness` refuse what would differ between workers, `one_worker_first` prepares
what all need.

`sharding` says who takes which examples; `examples` what is made of a record, with `labels`,
`class_weights`, `padding` and `images`; `batched` refuses batches where single records belong.
`cache` keeps examples, `buckets` puts those of like length together, `mix` mixes a batch,
`bad_examples` skips what can't be read, and `bad_data` tells the other workers and the user of it.

`training_batches`, `evaluation_batches` and, for `predict`, `given` lay the batches out by
`batching`; `feed` hands them out, `splits` gathers them, and `stage_times` says what takes their
time.

`augment` is for users' own `preprocess`.
"""
