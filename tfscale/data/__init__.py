"""From the dataset file to each replica's batches.

Read `splits`, which gathers all: `sources` say what a split's records are and how they are reached,
`sharding` who takes which of them, `examples` what is made of them. `training_batches`,
`evaluation_batches` and, for `predict`, `user_batches` lay the batches out by `batching`; `feed`
hands them out. `bad_data` tells the other workers and the user of what can't be read,
`stage_times` says what takes their time.

For the user's side: `formats` and `augment`, with `collection` (records that are reached by an
index), `images`, `labels` and `class_weights`.
"""
