"""Images whose batches take a while to train on, with a validation split if it is wanted."""

from datasets import synthetic

shape = (40, 40, 3)
size = 336
num_classes = 10
has_validation = True

preprocess = synthetic.preprocess


def load(split):
    if split == "validation" and not has_validation:
        return None
    synthetic.shape, synthetic.size = shape, size
    return synthetic.load(split) if split in synthetic.splits else None
