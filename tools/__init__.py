"""What is run beside a training; it imports `tfscale`, which never imports it.

`prepare` writes a split once as shards, `inspect_data` shows what a dataset file gives, `profiles`
measures the layers of a model, and `bench` how training scales and how fast batches are made.
`doctor` says whether a run would work, on one node or on all. `gpu_check` runs the programs of all
of them on a lent machine; `ssh` starts workers on others.
"""
