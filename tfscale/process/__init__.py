"""This process on its machine, in plain Python: its words, its end, its cores and its figures.

Read `terminal`, then `exit`; `garbage`, `cores` and `host_figures` stand for themselves.
"""
