"""The user's callbacks while a model trains.

`chief_callbacks` runs them, `changed_variables` and `logs_json` bring what they change to all
workers, `callback_intervals` says at which batches they want to be called. `no_exchange` keeps what
the chief alone runs from asking the others.
"""
