"""From backward to the update: how gradients are summed over all replicas.

Read `reducer`, then `buckets` (what travels together), `wires` (how it is sent) and `bucket_size`
(how much travels together, by what an all-reduce costs). `all_reduce` is what all of them sum with.
`timing` measures it in every step, `micro_batches` makes one all-reduce do for several parts of a
step.
"""
