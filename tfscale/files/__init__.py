"""Files that are there whole or not at all, and folders of them.

`atomic` writes one, `run_directory` owns a run's, of which `ownership` says whose it is and
`run_lock` keeps other runs away (`run_holder` says from whom); `checkpoint_names` says what those
of its checkpoints are called, `manifest` says what a folder of shards has to hold, and `once` lets
one process of many do what all need.
"""
