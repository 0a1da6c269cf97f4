"""Formats: each gives the records of files as a `Collection`, in which any one can be reached.

Read `tfrecord` first, which shows how all of them are made: `listing` finds the files and compares
them with the manifest beside them, an index says where each record lies (`record_index`),
`byte_ranges` reads them, `open_files` bounds how many files are open, and `compression` tells
compressed ones, in which nothing has an index. `array_record` and `text_lines` are the others;
`prepared` reads what launch/prepare.py wrote, whatever records those are. `tf_example` makes
tensors of records that are Examples, and `tfds` reads what TensorFlow Datasets wrote.

`held` is for formats whose records fit into memory, because they only name files or are small:
`image_folder`, `voc` and `coco`, which share `boxes` and `photo_notes`, and `csv_table`:
`csv_reading` reads its text, `csv_features` says which of its columns are features.
"""
