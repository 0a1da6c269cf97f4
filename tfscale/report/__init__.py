"""What a run tells: the plan before it, curves meanwhile, `report.json` and a table after it.

Read `plan`, then `run_times` (a run's), `step_times` (what they say), `scalars` (TensorBoard, by
`curve_files`), `epoch_lines` (where there is no progress bar), `trainer_status` (for Kubeflow),
`report` and `tables`. `split_metrics` adds figures that need the predictions of a whole split,
`evaluated_weights` says which weights the figures are about.
"""
