"""What launchers say of a process in its environment: a file for each way of speaking.

Each is a pure function of the environment, which gives a `Said`, or None where its launcher hasn't
started this process. Read `said`, then `slurm`, which says most. `mpi` knows rank and size alone,
`leaders` a leader beside them (torchrun and its like), `kubernetes` names that follow from a
pattern, `clouds` lists of addresses. `hostlist` reads Slurm's way to write many names.
"""
