"""This process on its machine, in plain Python: its words, its end, its cores and its figures.

Read `terminal`, then `exit` and the folders of `temporary`; `progress`, `garbage`, `cores`,
`host_figures`, `stop_wish` and `shell` stand for themselves.
"""
