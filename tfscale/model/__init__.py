"""From the model file to a compiled Keras model.

Read `model_file`, then `task` (loss and metrics), with `output_kind` (probabilities or logits) and
`asked_metrics`, `learning_rate`, `optimizers` and `user_callbacks`. `scoring` says
what is measured on a whole split, by `mean_average_precision`; `boxes` is the mathematics of
detectors. `model_facts` says what of all that workers must have the same.
"""
