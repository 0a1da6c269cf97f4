"""Every contact with the insides of Keras 3.15.1: a new version has one folder to break.

Read `scale` (the one rule for losses), `install`, `loops`, `given` (what Keras takes as data) and
`optimizer`, then `rehearsal` and `trial` (steps of which nothing stays), `losses`, `layers` and
`batch_normalization`; `monitors` and `saving` are about callbacks. `noted` says what a step
differentiates, `known_variables` what an optimizer was built for, `global_random` is the generator
that `keras.random` draws with, `downloads` lets one process download at a time, `unallocated`
makes a model without memory, and `classes` tells what is Keras's own. tests/jobs names the defect
behind each replacement.
"""
