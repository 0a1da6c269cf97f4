"""What watches a run and what ends it in order.

`preemption` ends a run that somebody stops. `injected_faults` damages one, for tests, in the ways
of `fault_kinds`.
"""
