import shlex
import sys
from pathlib import Path

import pytest

from tfscale.process.shell import load_command, run_command


@pytest.mark.parametrize("folder", ["runs/first", "my run", "it's", 'a "b" $HOME `x`'])
def test_a_shell_hands_on_the_path_as_it_is(folder):
    words = shlex.split(load_command(f"{folder}/model.keras"))
    assert words[:2] == [sys.executable, "-c"]
    found = []
    program = (
        words[2].replace("import keras; keras.saving.load_model", "load").removesuffix(".summary()")
    )
    exec(program, {"load": lambda path: found.append(path)})  # noqa: S102 - the command's own
    assert found == [str(Path(folder, "model.keras").resolve())]
    script = shlex.split(run_command(f"{folder}/load_model.py"))
    assert script == [sys.executable, str(Path(folder, "load_model.py").resolve())]


def test_only_what_keras_does_not_do_by_itself_is_written():
    assert "safe_mode=False" in load_command("m.keras", safe_mode=False, compile=True)
    assert "compile" not in load_command("m.keras", safe_mode=False, compile=True)
