"""One table of all settings: a line of `Config` is all that a setting is.

Its flag in --help, its check, and whether workers or a run that goes on may have another value are
read off that line. What a setting does stands where it is done.
"""

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from types import NoneType
from typing import TypeVar, get_args

from tfscale.errors import ConfigError
from tfscale.structures import Foreign
from tfscale.user_paths import local_path

T = TypeVar("T")

# Titles of --help.
TRAINED = "What is trained, and where it goes"
AMOUNT = "How much"
LEARNING = "How it learns"
CLUSTER = "The cluster"
SPEED = "How fast"
KEPT = "What is kept"
FAILURE = "When it fails"

# As Keras names them, and lars. Keras's Ftrl divides by the rate, which a warm-up begins at 0.
OPTIMIZERS = (
    *("sgd", "adam", "adamw", "rmsprop", "lion", "nadam", "adagrad", "adadelta", "adamax"),
    *("adafactor", "lamb", "lars"),
)
_WITH_MOMENTUM = ("sgd", "lars", "rmsprop")


@dataclass(frozen=True)
class Setting:
    """What a line of `Config` says beside name, type and default, which come in from there.

    Args:
        group: its title in --help.
        help: what it is, in a line.
        choices: what it may be; a path, instead of one.
        least: of a number. Where that is 0 and there is no `most`, 0 lets the run choose.
        most: of a number.
        is_above_zero: whether a number is more than 0, however little.
        is_path: whether it is a folder of this machine, and made absolute.
        belongs_to_optimizer: whether a model that comes compiled has its own.
        may_differ_on_resume: whether a run may go on from a checkpoint with another value: it
            changes nothing that is trained, but within rounding.
        may_differ_between_workers: whether each worker may have its own.
        name: of the flag, too.
        kind: its type.
        default: None also where there is none.
    """

    group: str
    help: str
    choices: tuple[str, ...] = ()
    least: float = 0
    most: float = float("inf")
    is_above_zero: bool = False
    is_path: bool = False
    belongs_to_optimizer: bool = False
    may_differ_on_resume: bool = False
    may_differ_between_workers: bool = False
    name: str = ""
    kind: object = None
    default: object = None

    def require(self, value: object) -> None:
        """Refuses what it can't be; a path is looked at when it is made absolute.

        Raises:
            ConfigError: the value is out of its range.
        """
        if self.choices and value not in self.choices:
            raise ConfigError(
                f"--{self.name}={value} is unknown; expected one of {', '.join(self.choices)}. "
                f"Use for example --{self.name}={self.choices[0]}."
            )
        if self.kind in (int, float, float | None) and (expected := self._expected(value)):
            raise ConfigError(f"--{self.name}={value} is out of range; expected {expected}.")

    def _expected(self, value: Foreign) -> str:
        """What a number has to be that isn't."""
        infinite = float("inf")
        if self.kind is int and (not isinstance(value, int) or value < self.least):
            example = f"--{self.name}={max(self.least, 1)}"
            return f"a whole number of at least {self.least}. Use for example {example}"
        if self.is_above_zero:
            return "" if 0 < value < infinite else "more than 0"
        if self.most < infinite:
            is_between = self.least <= value <= self.most
            return "" if is_between else f"{self.least:.10g} to {self.most:.10g}"
        return "" if self.least <= value < infinite else "0 to choose, or more"


def _setting(default: T, group: str, help: str, **columns: Foreign) -> T:
    """A line of `Config`."""
    return field(default=default, metadata=_says(group, help, **columns))


def _says(group: str, help: str, **columns: Foreign) -> dict[str, Setting]:
    return {"setting": Setting(group, help, **columns)}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run is asked to do, the same on every worker; each line is a `Setting`.

    Attributes:
        given: names of settings that somebody asked for, beside those that aren't their defaults:
            a flag that can't have an effect is refused if it was.
        typed: the paths as they were given. The settings themselves are absolute, because a user's
            file may change the current folder; to compare workers, whose folders differ, and to
            show what was asked for, there is this.

    Raises:
        ConfigError: a value is out of its range.
    """

    data_dir: str | None = _setting(
        None,
        TRAINED,
        "The folder of the data, for files that ask for it [data].",
        is_path=True,
        may_differ_on_resume=True,
    )
    dataset_option: tuple[str, ...] = _setting(
        (), TRAINED, "NAME=VALUE for a constant of the file."
    )
    model_option: tuple[str, ...] = _setting((), TRAINED, "NAME=VALUE for a constant of the file.")
    # Spelled out: that there is no default, type checkers see by `field` alone.
    run_dir: str = field(
        metadata=_says(
            TRAINED, "The folder that the run writes to.", is_path=True, may_differ_on_resume=True
        )
    )
    overwrite: bool = _setting(
        False,
        TRAINED,
        "Replace an earlier run in --run_dir.",
        may_differ_on_resume=True,
        may_differ_between_workers=True,  # each supervisor takes it away by itself
    )
    batch_size: int = _setting(
        64, AMOUNT, "Global batch: examples a step, on all devices together.", least=1
    )
    epochs: int = _setting(1, AMOUNT, "Passes over the training examples.", least=1)
    steps_per_epoch: int = _setting(
        0, AMOUNT, "Steps of an epoch; 0 takes as many as there are examples for."
    )
    max_bad_examples: int = _setting(
        0,
        AMOUNT,
        "Records of a split that may be skipped as unreadable.",
        may_differ_on_resume=True,
    )
    optimizer: str = _setting(
        "sgd",
        LEARNING,
        "Unless the model file compiles its model.",
        choices=OPTIMIZERS,
        belongs_to_optimizer=True,
    )
    learning_rate: float | None = _setting(
        None,
        LEARNING,
        "The highest, after the warm-up and before the schedule; default by optimizer.",
        is_above_zero=True,
        belongs_to_optimizer=True,
    )
    base_batch_size: int = _setting(
        0,
        LEARNING,
        "The batch that the rate is meant for, to scale it with --batch_size; 0: as it stands.",
        belongs_to_optimizer=True,
    )
    schedule: str = _setting(
        "cosine",
        LEARNING,
        "The learning rate after the warm-up.",
        choices=("cosine", "constant"),
        belongs_to_optimizer=True,
    )
    warmup_fraction: float = _setting(
        0.05,
        LEARNING,
        "Share of all steps in which the rate rises, 0 to 1.",
        most=1,
        belongs_to_optimizer=True,
    )
    momentum: float | None = _setting(
        None,
        LEARNING,
        "Of sgd, lars and rmsprop; default by optimizer.",
        most=1,
        belongs_to_optimizer=True,
    )
    weight_decay: float | None = _setting(
        None,
        LEARNING,
        "Not of biases and scales; default by optimizer.",
        most=1,
        belongs_to_optimizer=True,
    )
    precision: str = _setting(
        "float32",
        LEARNING,
        "Of the model.",
        choices=("float32", "mixed_bfloat16", "mixed_float16", "float64"),
    )
    seed: int = _setting(
        0, LEARNING, "Of weights, order, augmentation and dropout.", most=2**31 - 1
    )  # that of an example starts as an int32
    devices: int = _setting(
        0,
        CLUSTER,
        "Logical CPU devices of each worker, to try things out; 0: the real ones.",
        may_differ_on_resume=True,
    )
    collectives: str = _setting(
        "auto",
        CLUSTER,
        "auto: nccl where GPUs are, else ring.",
        choices=("auto", "nccl", "ring"),
        may_differ_on_resume=True,
    )
    start_timeout: float = _setting(
        120.0,
        CLUSTER,
        "Seconds to wait for the other workers.",
        is_above_zero=True,
        may_differ_on_resume=True,
    )
    heartbeat_timeout: float = _setting(
        10.0,
        CLUSTER,
        "Seconds that a worker may be silent before all others end.",
        least=2,  # a busy machine may need them
        most=3600,  # as good as for ever
        may_differ_on_resume=True,
    )
    allow_public_network: bool = _setting(
        False, CLUSTER, "Let workers have public addresses.", may_differ_on_resume=True
    )
    step_timeout: float = _setting(
        0.0,
        CLUSTER,
        "Seconds without progress in a step; 0: learned from the run.",
        may_differ_on_resume=True,
    )
    steps_per_execution: int = _setting(
        0,
        SPEED,
        "Steps of one on-device loop; 0 makes it last a second.",
        may_differ_on_resume=True,
    )
    accumulate_steps: int = _setting(
        1,
        SPEED,
        "Micro-batches of a step, with one all-reduce for all.",
        least=1,
        may_differ_on_resume=True,
    )
    wire_dtype: str = _setting(
        "float32",
        SPEED,
        "Dtype of gradients while they travel.",
        choices=("float32", "bfloat16", "float16"),
    )
    compress: str = _setting(
        "none", SPEED, "For slow links, in place of --wire_dtype.", choices=("none", "int8", "topk")
    )
    bucket_mb: float = _setting(
        0.0,
        SPEED,
        "MiB of gradients in one all-reduce; 0 measures what is best.",
        may_differ_on_resume=True,
    )
    cache: str = _setting(
        "none",
        SPEED,
        "Keep examples: none, memory, or a local folder.",
        choices=("none", "memory"),
        is_path=True,
        may_differ_on_resume=True,
    )
    jit: bool = _setting(
        False, SPEED, "Let XLA compile forward and backward.", may_differ_on_resume=True
    )
    measure_efficiency: bool = _setting(
        False, SPEED, "Time one replica alone first, to compare.", may_differ_on_resume=True
    )
    checkpoint_every_steps: int = _setting(
        0,
        KEPT,
        "Steps between checkpoints; 0: as often as costs little.",
        may_differ_on_resume=True,
    )
    keep_checkpoints: int = _setting(
        2,
        KEPT,
        "How many of the last checkpoints stay; 0: none are written.",
        may_differ_on_resume=True,
    )
    on_nan: str = _setting(
        "stop",
        FAILURE,
        "When a loss isn't finite.",
        choices=("stop", "skip", "rollback"),
        may_differ_on_resume=True,  # changed because a run was ended by it
    )
    given: tuple[str, ...] = field(default=(), compare=False)
    typed: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuses the first value that cannot be meant."""
        typed = {}
        for name, setting in SETTINGS.items():
            value = getattr(self, name)
            if value is None and NoneType in get_args(setting.kind):
                continue
            if setting.is_path and value not in setting.choices:
                object.__setattr__(self, name, local_path(value, f"--{name}"))
                typed[name] = os.fspath(value)
            else:
                setting.require(value)
        object.__setattr__(self, "typed", typed)
        self._require_together()

    def _require_together(self) -> None:
        """Refuses settings that contradict each other."""
        if self.compress != "none" and self.wire_dtype != "float32":
            raise ConfigError(
                f"--compress={self.compress} and --wire_dtype={self.wire_dtype} both say how "
                "gradients travel; expected one of them. Leave --wire_dtype out."
            )
        if self.momentum is not None and self.optimizer not in _WITH_MOMENTUM:
            raise ConfigError(
                f"--momentum={self.momentum} would do nothing with --optimizer={self.optimizer}; "
                f"expected one of {', '.join(_WITH_MOMENTUM)}. Leave --momentum out."
            )
        if self.on_nan == "rollback" and not self.keep_checkpoints:
            raise ConfigError(
                "--on_nan=rollback goes back to a checkpoint, of which --keep_checkpoints=0 writes "
                "none; expected at least one. Leave --keep_checkpoints out, or use --on_nan=stop."
            )

    @property
    def bucket_bytes(self) -> int:
        """Bytes of gradients that travel in one all-reduce; 0 to choose."""
        return int(self.bucket_mb * 2**20)

    def asks_for(self, name: str) -> bool:
        """Whether somebody gave the setting, or has another value than its default."""
        return name in self.given or getattr(self, name) != SETTINGS[name].default

    def as_dict(self) -> dict[str, object]:
        """Every setting by its name, ready for JSON."""
        return {name: getattr(self, name) for name in SETTINGS}

    def as_flags(self, *, same_on_workers: bool = False) -> dict[str, object]:
        """Settings under the names of their flags, as they were given.

        Args:
            same_on_workers: whether to leave out those that may differ between workers.
        """
        return {
            f"--{name}": value
            for name, value in (self.as_dict() | dict(self.typed)).items()
            if not (same_on_workers and SETTINGS[name].may_differ_between_workers)
        }


SETTINGS = {
    line.name: replace(
        line.metadata["setting"],
        name=line.name,
        kind=line.type,
        default=None if line.default is MISSING else line.default,
    )
    for line in fields(Config)
    if line.metadata
}
