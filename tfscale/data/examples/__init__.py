"""What is made of records: examples as a replica's batch has them.

Read `examples` (the user's `preprocess`, with its checks), then `own_draws`
(random numbers in it) and `padding`; `cache` keeps examples,
`length_buckets` puts those of like length together, `batch_mixing` mixes a batch, `bad_examples`
skips what can't be read.
"""
