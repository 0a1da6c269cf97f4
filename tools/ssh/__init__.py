"""Workers on other machines, started by the OpenSSH client and otherwise like those of this one.

To `tfscale.supervise.restarts` a worker there is a process here: its `courier`, which holds the
connection. On the node a `member` starts the worker and ends it with the connection. Read `nodes`
(who they are; `host_files` reads lists of them), `connection` (ssh's words, and what it says),
`messages` (what the two tell each other), then both. `launching` puts them together; `copying`
brings the working tree there; `launches` keeps what this machine knows of a launch, for those that
come back to it.
"""
