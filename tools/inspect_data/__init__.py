"""What a dataset file gives, for the eyes of whoever wrote it, before anything is trained.

Read `inspection`, which goes through the examples of a split and says how fast they come.
`figures` has the numbers of each tensor and `labels` the classes of y, `suspicions` says what
looks wrong, and `pictures` draws them.
"""
