"""Systems that are compared take turns, block by block; what came out is said with its range."""

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfscale.files import atomic
from tfscale.structures import Json


def in_turns(blocks: int, names: Sequence[str]) -> Iterator[list[str]]:
    """Which systems are measured in each block: one after the other, in an order that changes."""
    for block in range(blocks):
        yield list(names if block % 2 == 0 else reversed(names))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each block against the one that was measured next to it."""
    return [own / other for own, other in zip(ours, theirs, strict=True)]


def with_range(values: Sequence[float], form: str = ".4g") -> str:
    """The median, with the least and the most in brackets.

    Args:
        values: of the blocks.
        form: of each number.
    """
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"


def write_both(folder: Path, name: str, content: Json, text: str) -> None:
    """Writes `NAME.json`, and `NAME.md` to read."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / f"{name}.json", json.dumps(content, indent=1) + "\n")
    atomic.write_text(folder / f"{name}.md", text)
