"""Who takes part in a job and which of them this process is, in plain Python.

Read `cluster`, then `discovery`, which decides between what may describe one: `tf_config` and the
flags, whose texts `addresses` checks; `machines` says which of these are one, `launchers` whether
a process is one of several tasks that may not know each other. `role` tells code of the user's who
it is, `exposure` who can reach its port. `ports` finds addresses on this machine, to try things
out.
"""
