"""From the model file to a compiled Keras model.

Read `model_file`, then `task` (loss and metrics), with `probabilities` (whether the outputs are
any), `learning_rate`, `optimizers`, `user_callbacks` and `weights` (how large they are). `scoring`
says what is measured on a whole split, by `mean_average_precision`; `boxes` is the mathematics of
detectors. `comparable` says what of all that workers must have the same.
"""
