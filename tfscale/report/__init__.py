"""What a run tells: the plan before it, curves meanwhile, `report.json` and a table after it.

Read `outline` (the plan), then `pace` (a run's times), `step_times` (what they say), `scalars`
(TensorBoard, by `curve_files`), `epoch_lines` (where there is no progress bar), `report` and
`tables`. `whole_scores` adds figures that need the predictions of a whole split, `evaluated` says
which weights the figures are about.
"""
