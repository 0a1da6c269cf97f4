"""A split written once as shards; `tfscale.data.formats.prepared` reads them back.

Read `preparation`, which goes from what is asked to the manifest. `split_records` opens what
`load` gives, and `shards` shares it over the processes of `children`: each makes strings of its
records (`serialized`) and files of those (`shard_writers`). `progress` tells how far all of them
are.
"""
