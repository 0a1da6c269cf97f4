"""What trying a model shows before its first step.

`build` makes all variables and finds out what the model's steps do; `findings` holds together what
`custom_losses`, `custom_state` and `metric_reductions` try of parts that aren't Keras's.
`loss_scaling` refuses a model that scales its losses by the number of replicas itself.
"""
