"""Slurm's way to write many names, `a[01-03,7],b`, and many numbers, `2(x3),1`."""

import re

from tfscale.cluster.dialects.said import MOST_TASKS as _MOST


def expand(text: str) -> list[str]:
    """The names of a host list, in its order.

    Args:
        text: names with commas between them; numbers and ranges in brackets, several times in a
            name: `node[001-003,007]`, `a[1-2]b[01-03]`. Leading zeros are kept.

    Raises:
        ValueError: it is no such list.
    """
    found: list[str] = []
    for part in _parts(text):
        found += _names(part)
        if len(found) > _MOST:
            raise ValueError(f"more than {_MOST} names")
    return found


def counts(text: str) -> list[int]:
    """The numbers of `2(x3),1`: 2, 2, 2, 1.

    Raises:
        ValueError: it is no such list.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,6})(?:\(x([0-9]{1,6})\))?", part.strip())
        if not match:
            raise ValueError(f"{part!r} is no number")
        found += [int(match[1])] * min(int(match[2] or 1), _MOST + 1)
        if len(found) > _MOST or sum(found) > _MOST:
            raise ValueError(f"more than {_MOST} tasks")
    return found


def _parts(text: str) -> list[str]:
    """The list at its commas, but for those within brackets."""
    parts = re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text)
    if ",".join(parts) != text or not parts:
        raise ValueError(f"{text!r} has a bracket or a comma too many")
    return parts


def _names(part: str) -> list[str]:
    names = [""]
    for fixed, choices in re.findall(r"([^\[\]]*)(?:\[([^\[\]]*)\])?", part):
        endings = _numbers(choices) if choices else [""]
        names = [f"{name}{fixed}{ending}" for name in names for ending in endings]
        if len(names) > _MOST:
            raise ValueError(f"more than {_MOST} names")
    return names


def _numbers(text: str) -> list[str]:
    found: list[str] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"{part!r} is no number and no range")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= _MOST:
            raise ValueError(f"more than {_MOST} names")
        found += [str(number).zfill(len(match[1])) for number in range(first, last + 1)]
    return found
