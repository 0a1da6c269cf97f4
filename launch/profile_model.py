r"""Measures how long the layers of a model take on this machine, and writes a profile of it.

    python launch/profile_model.py --dataset=datasets/digits.py --model=models/small_cnn.py \
        --batch_size=64 --out=small_cnn.json

The profile is what an emulated accelerator waits by; without --out it is printed.
"""

import contextlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Started by its path, Python looks for modules in launch/ alone.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from absl import app, flags  # noqa: E402  # after the path is set

import tfscale  # noqa: E402
from tfscale.config import PRECISIONS  # noqa: E402
from tfscale.profiles import profile  # noqa: E402

_DATASET = flags.DEFINE_string("dataset", "", "Path of the dataset file.")
_MODEL = flags.DEFINE_string("model", "", "Path of the model file.")
_DATASET_OPTION = flags.DEFINE_multi_string("dataset_option", [], "NAME=VALUE for the file.")
_MODEL_OPTION = flags.DEFINE_multi_string("model_option", [], "NAME=VALUE for the file.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Examples a step, on one device.")
_STEPS = flags.DEFINE_integer("steps", 20, "Each time is the median of so many steps.")
_PRECISION = flags.DEFINE_enum("precision", "float32", PRECISIONS, "Of the model.")
_OUT = flags.DEFINE_string("out", "", "The JSON file to write; printed if empty.")


def main(argv: Sequence[str]) -> int:
    """Translate the flags and measure; says in one line why, if it can't."""
    tfscale.use_own_temporary_folder()
    terminal = tfscale.Terminal(print)
    with terminal.captured():
        try:
            text = profile.profile_text(_measured(argv))
            if _OUT.value:
                Path(_OUT.value).write_text(text)
            terminal.show(f"written: {_OUT.value}" if _OUT.value else text)
            return 0
        except Exception as error:
            reason, code = tfscale.describe_failure(error)
            if code != tfscale.CONFIG_CODE:
                with contextlib.suppress(OSError):  # a full disk must not hide the reason
                    traceback.print_exc()
                reason += f" (more in {terminal.kept_log()})"
            terminal.complain(reason)
            return code


def _measured(argv: Sequence[str]) -> profile.Profile:
    if argv[1:]:
        raise tfscale.ConfigError(f"{argv[1]!r} is no flag; expected --name=value. See --help.")
    profile.require_writable(_OUT.value)
    config = tfscale.Config(
        run_dir="unused",
        batch_size=_BATCH_SIZE.value,
        precision=_PRECISION.value,
        dataset_option=tuple(_DATASET_OPTION.value),
        model_option=tuple(_MODEL_OPTION.value),
    )
    tfscale.check_environment()
    tfscale.set_environment(tfscale.Cluster())
    # TensorFlow and Keras read the environment when they are imported.
    from tfscale.profiles.layer_times import profile_files

    return profile_files(config, _DATASET.value, _MODEL.value, _STEPS.value)


if __name__ == "__main__":
    app.run(lambda argv: tfscale.leave(main(argv)))
