"""Processes that live and die together on this machine, in plain Python.

Read `gang` (started, watched, killed, reaped, guarded), then the two ways of using it: `together`
runs workers in a terminal, whose lines `echo` shows and files; `answers` asks workers and waits for
what they answer. `lines` reads a process's output for both; `commands` says what is started.
"""
