"""What is trained: the same network for Keras 3, Keras 2, plain TensorFlow and PyTorch.

Read `workload`, then `waiting` (an accelerator that isn't there); the others really compute.
"""
