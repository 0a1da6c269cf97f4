"""Formats: what lies on a disk, as records that are reached by their numbers.

Each module has a function that gives a `Collection` of files or folders of its kind. `held` is for
formats whose records fit into memory: lists of files with labels (`image_folder`), boxes (`voc`,
`coco`; `boxes` is what they share) and tables (`csv_table`). `tfds` and `tf_example` read what lies
in record files.
"""
