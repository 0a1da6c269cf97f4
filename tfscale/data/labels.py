"""Labels that are the numbers of classes: each has to be one of them.

A loss would stop at another on a CPU, in words of its own; on a GPU it gives NaN.
"""

import tensorflow as tf

from tfscale.data.sharding import Check
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.structures import Spec, Structure


def label_check(dataset: DatasetFile, spec: Spec) -> Check | None:
    """What refuses an example, or a stack of them, whose label is no class.

    Args:
        dataset: its task and number of classes.
        spec: of one example; a label with axes of its own, such as one for each pixel, may have
            numbers that its loss ignores.

    Returns:
        A function of examples and their index, or None where labels aren't numbers of classes.
    """
    if dataset.task != "classification" or dataset.num_classes is None:
        return None
    y = spec[1] if isinstance(spec, tuple) and len(spec) > 1 else None
    if not isinstance(y, tf.TensorSpec) or y.shape.rank != 0 or not y.dtype.is_integer:
        return None
    classes = max(dataset.num_classes, 2)  # one output stands for two classes

    def check(example: Structure, index: tf.Tensor) -> Structure:
        label = tf.cast(example[1], tf.int64)
        is_class = tf.reduce_all((label >= 0) & (label < classes))
        first = tf.reshape(label, [-1])
        wrong = tf.boolean_mask(first, (first < 0) | (first >= classes))[:1]
        valid = tf.debugging.Assert(
            is_class,
            [
                f"{dataset.name} gives the label",
                wrong,
                "at record",
                index,
                f"; expected a whole number from 0 to {classes - 1}, for num_classes = "
                f"{dataset.num_classes}. Mend the label, or num_classes.",
            ],
        )
        with tf.control_dependencies([valid]):
            return (example[0], tf.identity(example[1]), *example[2:])

    return check
