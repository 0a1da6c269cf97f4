"""Processes that live and die together on this machine, in plain Python.

Read `gang` (started, watched, killed, reaped, guarded), then `restarts`, which runs workers until
they are done: one attempt after the other (`together`), whose `lines` `echo` shows and files, as
`budget` allows by what `run_progress` sees; `stops` notes signals, `attempts` tells other nodes.
`commands` says what is started.
"""
