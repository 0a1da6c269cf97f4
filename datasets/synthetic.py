r"""Images computed from their index: for measuring what the trainer alone can do, without a disk.

    python launch/worker.py --dataset=datasets/synthetic.py --dataset_option=size=50000 \
        --model=models/resnet.py --model_option=depth=18 --run_dir=runs/synthetic \
        --batch_size=256 --epochs=1

Expected time and accuracy: see README. Each constant below can be set by `--dataset_option`.
An example depends on `seed` and its index alone: every worker, run and batch size sees the same.
"""

import tensorflow as tf

shape = (32, 32, 3)  # height, width, channels of one image
num_classes = 10
size = 4096  # training examples; the validation split has an eighth of that
seed = 0

task = "classification"
splits = ("train", "validation")


def load(split: str) -> tf.data.Dataset:
    """Give the indices (int64 scalars) of one split; validation goes on where training ends."""
    if split == "train":
        return tf.data.Dataset.range(size)
    if split == "validation":
        return tf.data.Dataset.range(size, size + size // 8)
    raise ValueError(f"Synthetic data has no split {split!r}. Use one of {', '.join(splits)}.")


def preprocess(record: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)` from an index: x float32 `shape` in 0..1, y int64 scalar in 0..num_classes-1.

    Uniform noise on a grey level that grows with the class: cheap to make, and a model that works
    learns it, so that a loss that stays flat means a defect.
    """
    del training  # nothing is augmented
    label = record % num_classes
    noise = tf.random.stateless_uniform(shape, seed=tf.stack([tf.cast(seed, tf.int64), record]))
    grey_level = tf.cast(label, tf.float32) / num_classes
    return 0.5 * noise + 0.5 * grey_level, label
