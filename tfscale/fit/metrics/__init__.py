"""What steps return, over all replicas.

`metric_totals` puts metrics together, `step_logs` what a step of the user's own returns, and
`packing` makes one vector of many small tensors.
"""
