"""Keras's `fit`, `evaluate` and `predict` on all replicas.

Read `prepared` (the one way to get a job ready), then `build` (what a model's steps do),
`distributed_model`, `train_step` and `boundary` (what workers tell each other between loops), then
`evaluation`, `prediction` and `labelled_prediction`. `on_chief` runs the user's own
callbacks and brings what they change to all; `named_figures` and `callback_needs` say before the
first step what Keras's would miss; `rhythm` and `loop_length` decide how seldom Python is entered.

`share` says what a replica's rows are to a loss. `own_losses`, `own_logs`, `metric_kinds`,
`own_state` and `own_scaling` say what to make of what somebody wrote, `findings` holds it together.
`metric_totals`, `replica_state`, `assigned` and `packing` are what a boundary carries; `reducers`
are the ways of gradients, `alone` times a replica that waits for nobody. All that touches the
insides of Keras is in `keras/`.
"""
