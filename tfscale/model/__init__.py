"""From the model file to a compiled Keras model.

Read `model_file`, then `task` (loss and metrics), `learning_rate`, `optimizers` and
`user_callbacks`. `comparable` says what of all that workers must have the same.
"""
