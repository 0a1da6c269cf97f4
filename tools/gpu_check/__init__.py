"""What to run on a machine with GPUs that is lent for minutes, the most telling first.

Read `steps`, which says what is run and for how long at most, then `session`, which runs one after
the other until the time is over and keeps a summary of all that there is so far.
"""
