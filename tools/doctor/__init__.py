"""Whether a run would work on these nodes, and what is wrong, with whom, where it wouldn't.

Read `doctor`, the story, and `findings`, what can come of it; `asked` is what is asked, and an
`examination` all that is known. `node` asks one node, each question with one of the `time_limits`:
`packages`, `machine`, `gpus`, `ways` to the others, and TensorFlow in a process of its own
(`tensorflow_process`, whose other end is `tensorflow_child`). Nodes meet at the `reception` of
each: the `lead` asks every `follower`, has their answers compared (`comparison`), and tries the
`shared_folder` with them. A `measurement` gives `orders` to time all-reduces, of which `links` says
what they mean; `report` tells people and programs.
"""
