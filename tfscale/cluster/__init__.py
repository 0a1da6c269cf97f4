"""Who takes part in a job and which of them this process is, in plain Python.

Read `cluster`, then `discovery`, which decides between what may describe one: `tf_config`, the
flags, whose texts `addresses` checks, and what launchers say (`dialects`). Where those know no
addresses, workers tell them to each other (`introductions`, in `json_lines`); where names don't
resolve, Slurm is asked (`node_addresses`). `machines` says which addresses are one. `role` tells
code of the user's who it is, `exposure` who can reach its port. `ports` finds addresses on this
machine, to try things out.
"""
