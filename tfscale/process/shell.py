"""Commands for a reader to copy into a shell: quoted, and right from any folder."""

import json
import shlex
import sys
from pathlib import Path


def run_command(script: str | Path) -> str:
    """Runs a Python file with this Python."""
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(script).resolve()))}"


def load_command(file: str | Path, **options: bool) -> str:
    """Loads a model with plain Keras and shows it.

    Args:
        file: a `.keras` file.
        options: of `keras.saving.load_model`; only those that are False are written.
    """
    given = "".join(f", {name}=False" for name, value in options.items() if not value)
    # A text of JSON is one of Python, in double quotes, which a shell takes within single ones.
    path = json.dumps(str(Path(file).resolve()), ensure_ascii=False)
    program = f"import keras; keras.saving.load_model({path}{given}).summary()"
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"
