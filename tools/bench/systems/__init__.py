"""What is compared: each file trains a workload with one system, as its users would write it.

`prepare(task)` makes everything ready and gives a function that trains a number of steps and
returns when their result exists. Read `tfscale`, this project, then `stock`, the multi-worker
tutorial, `ddp`, PyTorch's peer, `plain_keras`, Keras 3 in one process, and `bare`, a step without
Keras.
"""
