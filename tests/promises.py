"""Writes docs/promises.md: every promise beside the files of tests that show it.

    make promises

A promise is said once, in promises.toml, under a key. A test that shows it is marked
`@pytest.mark.promise("KEY")`, and a file whose tests all do has the mark as its `pytestmark`. Files
are read by `ast`: nothing is imported, so that it takes a second.
"""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "promises.md"
SENTENCES = Path(__file__).with_suffix(".toml")

_START = """# What you can rely on

Each row is a promise and the tests that show it, on processes and CPU devices: on GPUs nothing has
been seen yet. [What a run survives](reliability.md) has the figures of faults, and what is missing.
`make promises` writes this page from the marks on the tests.
"""


def promised(source):
    """The keys that a file of tests is marked with.

    Args:
        source: the text of the file. A mark on anything but a test or the whole file shows nothing.
    """
    keys = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            keys |= _marked(node.decorator_list)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            keys |= _marked([node.value])
    return keys


def _marked(nodes):
    calls = (part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Call))
    return {
        ast.literal_eval(call.args[0])
        for call in calls
        if ast.unparse(call.func) == "pytest.mark.promise"
    }


def shown_by(root):
    """The files that show each promise, by its key, sorted.

    Args:
        root: of the repository.
    """
    found = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        for key in promised(path.read_text()):
            found.setdefault(key, []).append(path.relative_to(root).as_posix())
    return found


def page(sentences, files):
    """The text of docs/promises.md.

    Args:
        sentences: of each heading its promises by their keys.
        files: that show each promise, by its key.

    Raises:
        ValueError: a promise that no test shows, or a mark without a promise.
    """
    said = {key for promises in sentences.values() for key in promises}
    if said != files.keys():
        raise ValueError(
            f"No test shows {sorted(said - files.keys())}, and {SENTENCES.name} doesn't have "
            f"{sorted(files.keys() - said)}; expected a sentence for each mark and a mark for each."
        )
    lines = [_START]
    for heading, promises in sentences.items():
        lines += [f"## {heading}", "", "| promise | shown by |", "| --- | --- |"]
        for key, sentence in promises.items():
            lines.append(f"| {sentence} | {', '.join(f'`{path}`' for path in files[key])} |")
        lines.append("")
    return "\n".join(lines)


def current():
    """The page that the marks of this repository give."""
    return page(tomllib.loads(SENTENCES.read_text()), shown_by(ROOT))


if __name__ == "__main__":
    PAGE.write_text(current())
