"""From the model file to a compiled Keras model.

Read `model_file`, then `task` (loss and metrics), `learning_rate`, `optimizers` and
`user_callbacks`. `scoring` says what is measured on a whole split, by `mean_average_precision`;
`boxes` is the mathematics of detectors. `comparable` says what of all that workers must have the
same.
"""
