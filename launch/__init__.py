"""The programs: each translates its flags into calls of the library.

`worker` trains (by `worker_flags`), `local` starts several workers on this machine, `ssh` on
several machines (by `ssh_flags`), `evaluate` evaluates a saved model; `doctor` says what is wrong
on nodes. `inspect_data` shows what a dataset file gives, `prepare` writes it as shards. `bench`,
`bench_data` and `compare` measure, `profile_model` profiles, `gpu_check` does all of that on a lent
GPU. `program` is the shell that all of them share.
"""
