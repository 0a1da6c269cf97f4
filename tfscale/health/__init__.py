"""What watches a run and what ends it in order.

All but what they ask are listeners. `watchdog` ends what stands still: `lookout` sees where a
worker is and since when, `place` reads where the main thread is, `deadlines` says how long it may
be there, `inquiry` asks the other workers, `standstill` finds who holds everybody up. `non_finite`
acts on losses that aren't finite, `stragglers` names who is slow, `corruption` compares the copies
of the model, `frozen_weights` sees that others are to be trained, `records_read` compares what was
read, `preemption` ends a run that somebody stops.
"""
