"""From processes to a strategy that stands: all that a job needs before it reads data.

Read `job`, which calls the others in their order: `environment` (before TensorFlow is imported),
`devices` (with `gpu_libraries`), `rendezvous` (with `port`, `hello`, and `reach`, which says what
is at an address), `heartbeats`, `strategy` (with `last_words`), `board`, over which a failure of
one worker ends all (with `peers`, which sees them end, `notes`, what they tell each other, and
`store`, where it is kept), and `agreement`, which compares them (with `sources` and
`differences`). `meeting` brings workers to the same point of their loops.
"""
