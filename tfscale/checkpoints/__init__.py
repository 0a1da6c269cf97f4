"""What a run leaves behind to go on from, and how it is had back.

Read `rehearsal` (how much of a model can be saved, before the first step), `export` (saves it),
`loading` (a command that gives it back, tried), which uses `custom_objects` and `load_script`, and
`rescue` (what stays when a callback fails).
"""
