"""Every contact with the insides of Keras 3.15.1: a new version has one folder to break.

Read `install`, then `loops`, `rhythm` (which callbacks make a loop short) and `given` (what Keras
takes as data), then `optimizer`, `layers` and `batch_normalization`. tests/jobs names the
defect behind each replacement.
"""
