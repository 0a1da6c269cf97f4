"""What watches a run and what ends it in order.

`preemption` ends a run that somebody stops.
"""
