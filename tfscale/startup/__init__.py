"""From processes to a strategy that stands: all that a job needs before it reads data.

Read `job`, which calls the others in their order: `environment` (before TensorFlow is imported),
`devices` (with `gpu_libraries` and `gpu_shares`), `network`, where workers find each other,
`strategy`, `board`, over which a failure of one worker ends all (with `messages`, what they tell
each other, and `key_value_store`, where it is kept), and `agreement`, which compares them (with
`source_hashes` and `differences`). `meeting` brings workers to the same point of their loops.
"""
