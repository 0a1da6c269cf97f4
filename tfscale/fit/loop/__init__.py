"""Where on-device loops end, and who is told.

`events` are what is told, with the `verdict` about a loop's steps; `loop_ends` tells listeners.
`loop_length` decides how long the next loop is, `input_progress` says how far a running one has
come.
"""
