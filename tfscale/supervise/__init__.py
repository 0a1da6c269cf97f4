"""Processes that live and die together on this machine, in plain Python.

Read `gang` (started, watched, killed, reaped, guarded), then the two ways of using it. `restarts`
runs workers until they are done: one attempt after the other (`together`), whose lines `echo`
shows and files, as `budget` allows by what `run_progress` sees; `stops` notes signals, `attempts`
tells other nodes. `answers` asks workers and waits for what they answer. `lines` reads a process's
output for both; `commands` says what is started.
"""
