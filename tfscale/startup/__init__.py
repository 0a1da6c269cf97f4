"""From processes to a strategy that stands: all that a job needs before it reads data.

Read `job`, which calls the others in their order: `environment` (before TensorFlow is imported),
`devices`, `rendezvous` (with `port`, `hello`, and `reach`, which says what is at an address),
`heartbeats`, `strategy` (with `last_words`), `board` (with `peers`, which sees other workers end),
`agreement` (with `sources` and `differences`).
"""
