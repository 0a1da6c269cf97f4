"""What a run leaves behind to resume from, and how it is restored.

Before the first step: `rehearsal` (how much of a model can be saved), `resume` (what an earlier
start has left), `claim` (the run directory becomes this run's).

While it trains: `keeper` is a listener that takes checkpoints and ends a run that is stopped. It
takes a `snapshot` of the training (with `callback_states` and `random_states`) for the `writer`,
which knows by `schedule` when one is due and lets `background` write it: `commit` makes it durable,
`retention` removes old ones. `way_back` goes back to an earlier step, to look at the next one
again.

At the end: `export` saves the model, `loading` finds a command that loads it and tries it, by
`custom_objects` and `load_script`; `rescue` keeps the weights when a callback fails.
"""
