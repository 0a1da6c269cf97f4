r"""What launch/prepare.py wrote: examples in shards, any of which is reached at once.

    python launch/prepare.py --dataset=datasets/digits.py --out=data/digits
    python launch/worker.py --dataset=datasets/prepared.py --dataset_option=folder=data/digits ...

The records come as `load` of the other file gave them. Where they aren't examples yet, a file of
your own takes `preprocess` from there:

    from datasets.digits import num_classes, preprocess
    from tfscale.data.formats import prepared

    def load(split):
        return prepared.records(f"data/digits/{split}")
"""

from pathlib import Path

from tfscale.data.collection import Collection
from tfscale.data.formats import prepared

folder = "data/prepared"  # what --out was; it has a folder for each split
num_classes = None
task = "classification"
splits = ("train", "validation", "test")


def load(split: str) -> Collection | None:
    """Give the records of one split in their order; None for one that wasn't written.

    Args:
        split: "train", "validation" or "test".
    """
    if split not in splits:
        raise ValueError(f"Prepared data has no split {split!r}. Use one of {', '.join(splits)}.")
    path = Path(folder).expanduser() / split
    if split != "train" and not path.is_dir():
        return None
    return prepared.records(path)
