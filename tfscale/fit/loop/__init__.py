"""Where on-device loops end, and who is told.

`events` are what is told, with the `verdict` about a loop's steps; `loop_ends` tells listeners.
`loop_length` decides how long the next loop is, `input_wait` says how long a running one has waited
for its batches.
"""
