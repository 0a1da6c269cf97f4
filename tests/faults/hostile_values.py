"""Values that somebody hostile would name a host, a file or an option: made from a seed.

Each would leave a file, the canary, if anything ran it as a shell or as Python.
"""

import random
from collections.abc import Iterator

SHELL = (
    "$(touch {canary})",
    "`touch {canary}`",
    "; touch {canary} #",
    "| touch {canary}",
    "&& touch {canary} &",
    "' ; touch {canary} ; '",
    '" ; touch {canary} ; "',
    "\n touch {canary}\n",
    "> {canary}",
    "<(touch {canary})",
    "${{IFS}}touch${{IFS}}{canary}",
    "() {{ :; }}; touch {canary}",
    "!touch {canary}",
    "\\$(touch {canary})",
)
PYTHON = (
    "__import__('pathlib').Path('{canary}').touch()",
    '"""; __import__("pathlib").Path("{canary}").touch(); """',
    "'''; __import__('pathlib').Path('{canary}').touch(); '''",
    '"; __import__("pathlib").Path("{canary}").touch(); "',
    "'); __import__('pathlib').Path('{canary}').touch(); ('",
    "\\N{{nothing}}",
    "\\x",
    "{{0.__class__.__mro__}}",
    "{{run_dir}}%s%n%(name)s",
)
TERMINAL = ("\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\rdone", "\x08" * 9, "\x7f", "\x1bP+q\x1b\\")
UNICODE = (
    *("\u202egnp", "\u2066a\u2069", "\u200b", "\u2028", "\u0300" * 40, "\uff11\uff12", "\ufeff"),
    *("\udcff", "\U0001f600", "\u6f22", "\x00", "a\x00b", "\xad"),
)
LEADING = ("-rf", "--", "-", "--help", "--run_dir=x", "-oProxyCommand=touch {canary}", "--flagfile")
PATHS = (
    *("../../../../etc/passwd", "/etc/shadow", "~root/x", "~nobody", "~", "//host/share"),
    *(
        "file:///etc/passwd",
        "gs://bucket/x",
        "C:\\x",
        "/proc/self/environ",
        "/dev/full",
        "a/./../b",
    ),
    *(" ", ".", "..", "*", "[a-z]", "?", "{{a,b}}", "a b", "a  b", "a\tb"),
)
MARKUP = (
    *("<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://h/x.png)", "|a|b|"),
    *("</td>", "&lt;", '","x":"', "}}}}", "[" * 3000, '{{"a":' * 500, "@import", "%2e%2e%2f"),
)
LONG = ("a" * 300, "a" * 5000, "a/" * 2500, "9" * 400, "\u6f22" * 100)
KINDS = (SHELL, PYTHON, TERMINAL, UNICODE, LEADING, PATHS, MARKUP, LONG)


def hostile_values(count: int, seed: int, canary: str) -> Iterator[str]:
    """So many values: each of the list once, then mixtures of them."""
    chance = random.Random(seed)
    every = [text.format(canary=canary) for kind in KINDS for text in kind]
    chance.shuffle(every)
    for number in range(count):
        if number < len(every):
            yield every[number]
        else:
            words = chance.choices(every, k=chance.randint(1, 3))
            around = ["".join(chance.choices("abz09._-: /,=", k=3)) for _ in range(2)]
            yield around[0] + "".join(words) + around[1]
