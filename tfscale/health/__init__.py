"""What watches a run and what ends it in order.

All but what they ask are listeners. `watchdog` ends what stands still: `lookout` sees where a
worker is and since when, `stack_section` reads where the main thread is, `deadlines` says how long
it may be there, `worker_reports` asks the other workers, `hang_verdict` finds who holds everybody
up. `non_finite` acts on losses that aren't finite and finds by `first_non_finite` where it began,
`stragglers` names who is slow, `corruption` compares the copies of the model, `frozen_weights` sees
that others are to be trained, `records_read` compares what was read, `preemption` ends a run that
somebody stops.
"""
