"""The user's callbacks before the first step: none that is bound to fail.

Read `ready_callbacks`; `requirements` looks for what Keras's callbacks need beside figures,
`monitored_figures` for every figure that they name.
"""
