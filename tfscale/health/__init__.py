"""What watches a run and what ends it in order.

`watchdog` ends what stands still: `place` reads where the main thread is, `deadlines` says how
long it may be there, `inquiry` asks the other workers, `standstill` finds who holds everybody up.
`non_finite` acts on losses that aren't finite, `stragglers` names who is slow, `corruption`
compares the copies of the model, `preemption` ends a run that somebody stops. `injected_faults`
damages one, for tests, in the ways of `fault_kinds`.
"""
