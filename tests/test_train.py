"""What `tfscale.train` refuses before it looks at anything else."""

import runpy

import pytest

from tfscale.errors import ConfigError


def test_a_program_that_trains_while_it_is_imported_is_refused(tmp_path):
    path = tmp_path / "train.py"
    path.write_text("import tfscale\ntfscale.train(None, None, 'data.py', 'model.py')\n")
    with pytest.raises(ConfigError) as caught:
        runpy.run_path(str(path), run_name="__mp_main__")  # as a process of a pool does
    assert f"tfscale was called while {path} was imported" in str(caught.value)
    assert 'below `if __name__ == "__main__":`' in str(caught.value)


def test_a_program_may_train_in_a_process_that_it_has_started(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(
        "import tfscale\ndef work():\n    tfscale._refuse_while_imported()\n    return 'done'\n"
    )
    assert runpy.run_path(str(path), run_name="__mp_main__")["work"]() == "done"
