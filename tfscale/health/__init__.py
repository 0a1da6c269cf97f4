"""What watches a run and what ends it in order.

`corruption` compares the copies of the model; `preemption` ends a run that somebody stops.
"""
