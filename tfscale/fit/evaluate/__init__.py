"""`evaluate` and `predict` on all replicas, every example once.

Read `evaluation`, then `prediction` and `labelled_prediction` (with the labels beside the outputs),
for which `gather_rows` brings the rows of all replicas together.
"""
