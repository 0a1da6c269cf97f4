"""The programs: each translates its flags into calls of the library.

`worker` trains (by `worker_flags`), `local` starts several workers on this machine, `doctor` says
what is wrong on nodes, `evaluate` evaluates a saved model; `inspect_data` shows what a dataset file
gives, `prepare` writes it as shards. `bench`, `bench_data` and `compare` measure, `profile_model`
profiles. `program` is the shell that all of them share.
"""
