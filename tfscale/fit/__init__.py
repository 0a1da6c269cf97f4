"""Keras's `fit`, `evaluate` and `predict` on all replicas.

Read `prepared` (the one way to get a job ready, from what is `built` of the user's files), `parts`
(what a step is made of; `build` finds out what a model's steps do), then `distributed_model`: its
`training_loop` on the device takes `train_step`s, watched by `step_guard`, whose `verdict` it
gives, and ends with `boundary`, the one all-reduce. `loop_ends` tells whoever listens, in `events`;
`loop_length` and `rhythm` decide how far they lie apart, `arrivals` says how far a loop has come.
Then `evaluation`, `prediction` and `labelled_prediction`, with `rows`, which gathers outputs of all
replicas. What touches the insides of Keras is in `keras`.

What a boundary carries: `packing`, `metric_totals`, `own_logs`, `replica_state` (with `assigned`).
What a checkpoint holds: `training_state`, brought together by `carrier`; `unrepeatable` names what
it can't hold. All begin with the same: `first_values`. `reducers` are the ways of gradients,
`share` says what a replica's rows are to a loss, `alone` times a replica that waits for nobody.

What is looked at before the first step: `compiled_model` (by the flags, or by what it brings
along), `findings` (what trying it shows), which holds together `own_losses`, `own_scaling`,
`own_state` and `metric_kinds`; `ready_callbacks` (with `named_figures` and `callback_needs`: what
Keras's would miss). And while it trains: `finite_weights`, `first_non_finite`, `fingerprints` (of
what all replicas share).

`on_chief` runs the user's callbacks; `changed_variables` and `logs_in_words` bring what they change
to all workers.
"""
