"""Keras's `fit`, `evaluate` and `predict` on all replicas.

Read `prepared` (the one way to get a job ready), then `distributed_model`, `train_step` and
`boundary` (what workers tell each other between loops), then `evaluation` and `prediction`.
`on_chief` runs the user's own callbacks, and brings what they change to all. `metric_totals`,
`replica_state` and `packing` are what a boundary carries; `alone` times a replica that waits for
nobody, `loop_length` decides how seldom Python is entered. All that touches the insides of Keras
is in `keras/`.
"""
