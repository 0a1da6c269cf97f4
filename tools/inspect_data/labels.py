"""What the y of an example says: which classes, and how it is written under its picture."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tfscale.structures import Structure
from tools.inspect_data.figures import Array, named_leaves

_LONGEST = 8  # classes that are listed under a picture
_CLASSES = "classes"  # what a detection set calls them


def classes_of(y: Structure, task: str) -> dict[str, list[int]]:
    """The classes that are in the y of an example, by the name of the tensor that says so.

    Args:
        y: of NumPy arrays: numbers of classes, one-hot or soft labels, 0 or 1 for each label of a
            multilabel task, or `classes` of boxes, in which -1 only fills up.
        task: of the dataset file.

    Returns:
        Nothing for a tensor that isn't of classes, such as those of a regression.
    """
    if task == "regression":
        return {}
    found = {}
    for name, leaf in named_leaves(((), y)).items():
        classes = _classes_of_leaf(name, leaf, task)
        if classes is not None:
            found[name] = classes
    return found


def _classes_of_leaf(name: str, leaf: Array, task: str) -> list[int] | None:
    if leaf.dtype.kind not in "iubf":
        return None
    values = leaf.astype(np.float64)
    if leaf.dtype.kind != "f" and name.endswith(f"[{_CLASSES!r}]"):
        return [int(number) for number in values.reshape(-1) if number >= 0]
    if task == "multilabel":
        return np.flatnonzero(values > 0.5).tolist() if leaf.ndim == 1 else None
    if task != "classification":
        return None
    if leaf.size == 1:
        number = float(values.reshape(()))
        return [int(number)] if number.is_integer() else None
    # One-hot, or softened: a share for each class.
    is_share = leaf.ndim == 1 and abs(float(values.sum()) - 1.0) < 1e-3
    return [int(np.argmax(values))] if is_share else None


def caption_of(y: Structure, task: str, names: Sequence[str] = ()) -> str:
    """What stands under the picture of an example: a few words.

    Args:
        y: as of `classes_of`.
        task: likewise.
        names: of the classes, where they are known.
    """
    classes = classes_of(y, task)
    words = []
    for name, leaf in named_leaves(((), y)).items():
        short = name.removeprefix("y").strip("[]'\"")
        if name in classes:
            listed = classes[name]
            shown = [named(number, names) for number in listed[:_LONGEST]]
            text = ", ".join(shown) + (", ..." * (len(listed) > _LONGEST))
            words.append(f"{short} {text or 'none'}".strip())
        elif leaf.ndim == 0:
            value = leaf.item()
            text = value.decode(errors="replace") if isinstance(value, bytes) else f"{value:.4g}"
            words.append(f"{short} {text}".strip())
    return "; ".join(words)


def named(number: int, names: Sequence[str]) -> str:
    """A class for the reader: its number, and its name where that is known."""
    return f"{number} {names[number]}" if 0 <= number < len(names) else str(number)


def count_rows(
    counts: Counter[int], num_classes: int | None, names: Sequence[str] = (), *, most: int = 24
) -> dict[str, str]:
    """How often each class came, as rows of a table.

    Args:
        counts: of each class that came.
        num_classes: how many there are, or None where the file doesn't say.
        names: of the classes, where they are known.
        most: rows; of more classes than that, those that came most and least are shown.
    """
    total = sum(counts.values())
    known = set(range(num_classes or 0)) | set(counts)
    listed = sorted(known)
    if len(listed) > most:
        by_count = sorted(known, key=lambda number: (-counts[number], number))
        listed = [*by_count[: most // 2], *by_count[-(most // 2) :]]
    rows = {}
    for number in listed:
        share = 100 * counts[number] / max(1, total)
        rows[f"class {named(number, names)}"] = f"{counts[number]} ({share:.1f} %)"
    if len(listed) < len(known):
        left_out = len(known) - len(listed)
        rows["others"] = f"{left_out} classes between the {most // 2} most and least frequent ones"
    return rows
