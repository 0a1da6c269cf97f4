"""From processes to a strategy that stands: all that a job needs before it reads data.

Read `job`, which calls the others in their order: `environment` (before TensorFlow is imported),
`devices`, `rendezvous`, `strategy`, `board`, `agreement` (with `sources`).
"""
