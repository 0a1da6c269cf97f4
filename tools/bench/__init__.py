"""Measures how training scales, how long whole programs take, and how fast batches are made.

Scaling: read `study`, then `task` (what a worker trains), `groups` (workers that train together),
`sweep` (measures them in turns), and `results`, `timeline` and `plots`, which show what came out.
`systems` are compared on `workloads`, over `links` of a chosen bandwidth. `whole` compares whole
`programs`, and `reading` chains of batches.

All of them start processes that answer orders (`module_commands`); those of scaling run `worker`.
`blocks` has the turns that systems take, and how their figures are said and written.
"""
