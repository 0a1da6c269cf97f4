"""What a dataset file gives, for the eyes of whoever wrote it, before anything is trained.

Read `inspection`, which goes through the examples of a split once. `figures` has the numbers of
each tensor and `labels` the classes of y; `repeats` finds examples that are there twice, `rates`
says how fast they come, `suspicions` what looks wrong, and `pictures` draws them.
"""
