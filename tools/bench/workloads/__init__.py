"""What is trained: the same network for Keras 3, Keras 2, plain TensorFlow and PyTorch.

Read `workload`, which says what each gives, then `waiting`, an accelerator that isn't there;
`tiny_mlp`, `small_resnet` and `full_resnet` really compute.
"""
