"""Keras's `fit`, `evaluate` and `predict` on all replicas.

Read `prepare_job` (the one way to get a job ready, from `data_and_model`, the user's files as they
were read, and `compiled_model`, compiled by the flags or as it came), then `parts`: what a step is
made of. `distributed_model` puts these in the place of Keras's: its `training_loop` on the device
takes a `train_step` after the other, and ends with `boundary_exchange`, the one all-reduce beside
gradients. `optimizer_reducers` are the ways of gradients, `loss_shares` says what a replica's rows
are to a loss, `single_replica_time` times one that waits for nobody.

`loop` tells who listens where loops end; `evaluate` has the other two methods. `state` is what a
step changes, `metrics` what it returns. `checks` try a model before its first step, `guards` look
after its numbers. `callbacks` run the user's, which `user_callbacks` has found to be ready. What
touches the insides of Keras is in `keras`; `process_wide` makes what is replaced for as long as the
process lives.
"""
