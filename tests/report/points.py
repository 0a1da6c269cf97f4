"""What the files of TensorBoard have, point by point: an accumulator hides what is there twice."""

import tensorflow as tf


def points_of(folder):
    """How often each step of each curve is there, in all files of a folder, texts aside."""
    found = {}
    for path in sorted(folder.rglob("*.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value if event.step else ():
                steps = found.setdefault((path.parent.name, value.tag), [])
                steps.append(event.step)
    return found
