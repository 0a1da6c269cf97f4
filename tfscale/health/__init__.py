"""What watches a run and what ends it in order.

`watchdog` ends what stands still, `stragglers` names who is slow, `corruption` compares the copies
of the model, `preemption` ends a run that somebody stops. `injected_faults` damages one, for tests,
in the ways of `fault_kinds`.
"""
