"""Models as people write them, each trained in plain Keras and on several shapes of cluster.

`entry` says what an entry of the gallery is; the other files have the entries by what is special in
them; `__main__` plays some of them on one worker. tests/jobs/test_gallery.py compares.
"""
