"""Commands for a reader to copy into a shell: quoted, and right from any folder."""

import json
import shlex
import sys
from pathlib import Path


def run_command(script: str | Path) -> str:
    """Runs a Python file with this Python."""
    return f"{in_shell(sys.executable)} {in_shell(str(Path(script).resolve()))}"


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
    return f"{in_shell(sys.executable)} -c {in_shell(program)}"


def curves_command(folder: Path) -> str:
    """Opens TensorBoard on a folder."""
    return f"{_tensorboard()} --logdir {in_shell(_as_argument(folder))}"


def in_shell(word: str) -> str:
    """One word of a command as a shell reads it back, in the quotes that are easiest to read."""
    # What a shell replaces within double quotes; "!" only where somebody types it.
    if "'" in word and not set('"$`\\!') & set(word):
        return f'"{word}"'
    return shlex.quote(word)


def _as_argument(path: Path) -> str:
    """The path, so that no program takes it for an option or for somebody's home."""
    text = str(path)
    return f"./{text}" if text.startswith(("-", "~")) else text


def _python() -> str:
    """How to call this Python, which need not be on the PATH."""
    return in_shell(sys.executable) if sys.executable else "python"


def _tensorboard() -> str:
    """How to call TensorBoard; a Python outside of an environment has its programs elsewhere."""
    program = Path(sys.executable).with_name("tensorboard") if sys.executable else Path()
    return in_shell(str(program)) if program.is_file() else f"{_python()} -m tensorboard.main"
