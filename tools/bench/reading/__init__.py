"""Measures how fast batches are made of files: ours, the same in bare tf.data, and PyTorch's.

Read `study`, which takes them in turns, then `formats`, which says what is read, and `dataset`,
the dataset file of ours. `files` writes the data sets, each of `ours`, `bare` and `torch_loader`
makes batches of them in a process of its own (`worker`), and `table` says what came out.
"""
