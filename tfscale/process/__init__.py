"""This process on its machine, in plain Python: its words, its end, its cores and its figures.

Read `terminal` (with `printable`), then `exit` and the folders of `temporary`, `signals` and
`stop_request`. `patience` bounds what should be quick, `gc_pause` pauses Python's collector,
`cores` and `spare_cores` are about the machine's, `topology` says which are near each other,
`cpu_quota` what a container may use of them; `host_figures` is about the load, `shell` about
commands for people.
"""
