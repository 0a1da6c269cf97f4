"""Keras's `fit`, `evaluate` and `predict` on all replicas.

Read `prepared` (the one way to get a job ready), then `build` (what a model's steps do),
`distributed_model`, `train_step` and `boundary` (what workers tell each other between loops), then
`evaluation`. `share` says what a replica's rows are to a loss, `own_losses`, `own_logs`,
`metric_kinds` and `own_scaling` what to make of what somebody wrote. `metric_totals`,
`replica_state`, `assigned` and `packing` are what a boundary carries; `reducers` are the ways of
gradients, `alone` times a replica that waits for nobody, `loop_length` decides how seldom Python is
entered. All that touches the insides of Keras is in `keras/`.
"""
