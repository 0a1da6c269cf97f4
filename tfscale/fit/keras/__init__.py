"""Every contact with the insides of Keras 3.15.1: a new version has one folder to break.

Read `seams` (what of Keras isn't public), `loss_reduction` (the one rule for losses), `install`,
`loops`, `keras_data` (what Keras takes as data) and `optimizer`, then `symbolic_step` and
`trial_step` (steps of which nothing stays), `losses`, `layers` and `batch_normalization`;
`monitor_direction` and `saving` are about callbacks. `traced_losses` says what a step
differentiates, told by the `tape`; `global_random` is the generator that `keras.random` draws with,
`downloads` lets one process download at a time, `model_without_weights` makes a model without
memory, and `classes` tells what is Keras's own. docs/patches.md lists what is replaced, why, and
the test that says when it can go.
"""
