"""What a run leaves behind to resume from, and how it is restored.

Before the first step: `savability` (how much of a model can be saved), `resume` (what an earlier
start has left), `run_directory_hold` (no other run gets there) and `run_directory_claim` (it
becomes this run's).

While it trains: `checkpointer` is a listener that takes checkpoints and ends a run that is stopped.
It takes a `snapshot` of the training (with `callback_states`) for the `writer`, which knows by
`schedule` when one is due and lets `background` write it: `commit` makes it durable, `retention`
removes old ones. `replay` goes back to an earlier step, to look at the next one again.

At the end: `export` saves the model, `loading` finds a command that loads it and tries it, by
`custom_objects` and `load_script`; `emergency_weights` keeps what was trained when a callback
fails.
"""
