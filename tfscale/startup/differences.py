"""Who has what, where workers should have the same: a line for one fact, a table for several."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

MOST_SHOWN = 12  # facts; whoever has them right will see the rest


def shown(differing: Mapping[str, Sequence[str]], advice: str) -> str:
    """A text for the reader.

    Args:
        differing: what each worker has, in the order of the rank, by the name of the fact.
        advice: what to do, as a sentence.
    """
    if len(differing) == 1:
        ((name, values),) = differing.items()
        told = who_has_what(dict(enumerate(values)))
        return f"The workers differ in {name} ({told}); expected the same on all. {advice}"
    rows = [("what", "workers", "value")]
    for name, values in itertools.islice(differing.items(), MOST_SHOWN):
        names = itertools.chain([name], itertools.repeat(""))
        groups = zip(names, _groups(dict(enumerate(values))), strict=False)
        rows += [
            (label, ranks.removeprefix("s").strip(), value) for label, (ranks, value) in groups
        ]
    if len(differing) > MOST_SHOWN:
        rows.append((f"and {len(differing) - MOST_SHOWN} more", "", ""))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"  {what:<{first}}  {who:<{second}}  {value}".rstrip() for what, who, value in rows]
    head = f"The workers differ in {len(differing)} things; expected the same on all. {advice}"
    return "\n".join([head, *lines])


def who_has_what(values: Mapping[int, str]) -> str:
    """A value of each worker, by its rank, in one line: "worker 0: a, workers 1, 2: b"."""
    return ", ".join(f"worker{ranks}: {value}" for ranks, value in _groups(values))


def _groups(values: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    """Each value with those who have it, as " 0" or "s 1, 4 to 7", in the order of the first."""
    for value in dict.fromkeys(values.values()):
        ranks = [rank for rank, theirs in values.items() if theirs == value]
        yield ("s " if len(ranks) > 1 else " ") + ranks_text(ranks), value


def ranks_text(ranks: Sequence[int]) -> str:
    """Sorted ranks as people write them: "0, 2 to 5"."""
    parts = []
    # Those that follow each other have the same distance from their place in the list.
    for _, run in itertools.groupby(enumerate(ranks), lambda pair: pair[1] - pair[0]):
        members = [rank for _, rank in run]
        if len(members) > 2:
            parts.append(f"{members[0]} to {members[-1]}")
        else:
            parts += map(str, members)
    return ", ".join(parts)
