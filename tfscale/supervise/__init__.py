"""Processes that live and die together, in plain Python.

Read `gang` (started, watched, killed, reaped, guarded), then `restarts`, which runs workers until
they are done: one attempt after the other (`group_attempt`), whose `lines` `echo` shows and files,
as `restart_policy` allows by what `run_progress` sees; `stop_signals` notes signals, `attempts`
tells other nodes. `commands` says what is started. `answers` is for processes that take orders.
"""
