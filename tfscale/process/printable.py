"""Text that only says something: nothing in it moves a cursor, hides a line or runs into the next.

A file's name or a flag's value may hold what a terminal obeys. Whoever reads such a text, or a log
of it, has to see it as it is.
"""

import re

# Controls but for tab and line feed, and marks that turn the direction of what follows.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text with such a letter written as Python writes it, `\x1b`; lines stay lines."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_printable_line(text: str) -> str:
    r"""The same in one line: what would begin another is written as `\n`."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
