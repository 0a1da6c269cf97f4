"""What training steps change, and how workers bring it together.

`training_state` reads and writes all of it, `byte_broadcast` carries it between workers.
`replica_state` is what each replica has of its own (`assigned`: of what a traced step changes),
`stateful_random_ops` names what no checkpoint can hold, and by `initial_values` all workers begin
alike.
"""
