"""Whole training programs, as their users would write them: `python -m ...programs.NAME TASK`.

`task` is what both train, `ours` with this project, `stock` as TensorFlow's tutorial does. Each
prints one line of JSON when it is done: `first_step`, when the first step had been taken, in
seconds since 1970, and `fit_seconds`, from the start of `fit` to the last evaluation's end.
"""
