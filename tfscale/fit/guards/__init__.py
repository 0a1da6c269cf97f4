"""What looks after the numbers of a training.

`step_guard` judges each step inside the on-device loop, `finite_weights` looks for weights that
aren't finite, `fingerprints` are of what all replicas share.
"""
