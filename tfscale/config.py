"""What a run is asked to do: every number that changes its result, checked when it is made."""

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from tfscale.errors import ConfigError
from tfscale.user_paths import current_folder

OPTIMIZERS = ("sgd", "adamw", "lamb", "lars")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "float64")
WIRE_DTYPES = ("float32", "bfloat16", "float16")
COMPRESSIONS = ("none", "int8", "topk")
COLLECTIVES = ("auto", "nccl", "ring")
ON_NAN = ("stop", "skip", "rollback")

_CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "wire_dtype": WIRE_DTYPES,
    "compress": COMPRESSIONS,
    "collectives": COLLECTIVES,
    "on_nan": ON_NAN,
}
_AT_LEAST = {
    "batch_size": 1,
    "epochs": 1,
    "base_batch_size": 1,
    "accumulate_steps": 1,
    "steps_per_execution": 0,
    "devices": 0,
    "steps_per_epoch": 0,
    "seed": 0,
    "max_bad_examples": 0,
    "checkpoint_every_steps": 0,
    "keep_checkpoints": 0,
}
_REMOTE = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_NO_FOLDERS = ("none", "memory")  # in the place of a cache's
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # controls, bytes that are no text, ends of lines
_BETWEEN = {
    "warmup_fraction": (0.0, 1.0),
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    # A busy machine may need two seconds, and an hour is as good as for ever.
    "heartbeat_timeout": (2.0, 3600.0),
    "seed": (0, 2**31 - 1),  # that of an example starts as an int32
}
_ABOVE_ZERO = ("start_timeout",)
_FROM_ZERO = ("bucket_mb", "step_timeout")  # 0 leaves it to the run


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run is asked to do, the same on every worker.

    Args:
        run_dir: the folder that the run writes to, of this machine; `~` is the user's home.
        batch_size: global batch, in examples per step over all replicas.
        epochs: passes over the training examples.
        steps_per_epoch: steps of an epoch; 0 takes as many as the examples give.
        learning_rate: peak learning rate for `base_batch_size` examples a step; it is scaled
            linearly with the global batch. None takes the optimizer's default.
        base_batch_size: global batch, in examples, that `learning_rate` is meant for.
        optimizer: one of `OPTIMIZERS`; a model that comes compiled keeps its own.
        schedule: "cosine" to zero or "constant", both after the warm-up.
        warmup_fraction: share of all steps in which the learning rate rises from zero, 0 to 1.
        momentum: of sgd and lars.
        weight_decay: of every optimizer, not applied to biases and normalisation.
        precision: Keras dtype policy.
        seed: of weights, order of examples, augmentation and dropout.
        wire_dtype: dtype of gradients while they travel; float32 sends them as they are.
        compress: "int8" or "topk" send less than a wire dtype can, and add what got lost to the
            next step; or "none".
        bucket_mb: mebibytes of gradients that travel in one all-reduce; 0 chooses by measuring
            the links when the run starts.
        accumulate_steps: micro-batches a step, with one all-reduce for all of them.
        measure_efficiency: whether a step of one replica alone is timed before training, to
            compare with.
        steps_per_execution: steps of one on-device loop; 0 lets it last about a second.
        jit: whether XLA compiles forward and backward; a model compiled with jit_compile=True
            is too.
        collectives: "nccl", "ring", or "auto" for nccl where there are GPUs.
        devices: logical CPU devices of each worker; 0 uses the real devices.
        start_timeout: seconds that the workers wait for each other at the start.
        heartbeat_timeout: seconds that a worker may be silent before the others end, 2 to 3600.
        allow_public_network: whether a worker's own address may be one that all the world reaches.
        step_timeout: seconds without progress after which a run ends; 0 learns them from the run.
        overwrite: whether an earlier run in `run_dir` may be replaced.
        checkpoint_every_steps: steps from one checkpoint to the next; 0 for as often as they cost
            about a hundredth of the time.
        keep_checkpoints: how many of the last checkpoints stay, beside the best one; 0 for none
            at all.
        on_nan: what becomes of a step whose loss isn't finite: "stop" ends the run, "skip" takes
            the step back and goes on, "rollback" ends it to be gone on with from a checkpoint.
        data_dir: the folder that the dataset file's data is in, of this machine; None for "data".
        cache: where examples are kept that are the same in each epoch: "none", "memory", or a
            folder of a local disk.
        max_bad_examples: records of each split that are skipped if no example can be made of them;
            with 0 the first one ends the run.
        dataset_option: `NAME=VALUE` texts for the dataset file's constants.
        model_option: `NAME=VALUE` texts for the model file's constants.
        inject_fault: `KIND@STEP[:WORKER],...`, faults that the run is to have; for tests alone,
            see tfscale/health/injected_faults.py.
        given: names of settings that somebody asked for, beside those that aren't their defaults:
            a flag that can't have an effect is refused if it was.

    Attributes:
        typed: the paths as they were given. The settings themselves are absolute, because a user's
            file may change the current folder; to compare workers, whose folders differ, and to
            show what was asked for, there is this.

    Raises:
        ConfigError: a value is out of its range.
    """

    run_dir: str
    batch_size: int = 64
    epochs: int = 1
    steps_per_epoch: int = 0
    learning_rate: float | None = None
    base_batch_size: int = 256
    optimizer: str = "sgd"
    schedule: str = "cosine"
    warmup_fraction: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    precision: str = "float32"
    seed: int = 0
    wire_dtype: str = "float32"
    bucket_mb: float = 0.0
    compress: str = "none"
    accumulate_steps: int = 1
    steps_per_execution: int = 0
    jit: bool = False
    measure_efficiency: bool = False
    collectives: str = "auto"
    devices: int = 0
    start_timeout: float = 120.0
    heartbeat_timeout: float = 10.0
    allow_public_network: bool = False
    step_timeout: float = 0.0
    overwrite: bool = False
    checkpoint_every_steps: int = 0
    keep_checkpoints: int = 2
    on_nan: str = "stop"
    data_dir: str | None = None
    cache: str = "none"
    max_bad_examples: int = 0
    dataset_option: tuple[str, ...] = ()
    model_option: tuple[str, ...] = ()
    inject_fault: str = ""
    given: tuple[str, ...] = field(default=(), compare=False)
    typed: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuses the first value that cannot be meant."""
        typed = {}
        for name, is_none in (("run_dir", ()), ("data_dir", (None,)), ("cache", _NO_FOLDERS)):
            value = getattr(self, name)
            if value not in is_none:
                object.__setattr__(self, name, local_path(value, f"--{name}"))
                typed[name] = os.fspath(value)
        object.__setattr__(self, "typed", typed)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                expected = ", ".join(choices)
                raise ConfigError(
                    f"--{name}={value} is unknown; expected one of {expected}. "
                    f"Use for example --{name}={choices[0]}."
                )
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"--{name}={value} is out of range; expected a whole number of at least "
                    f"{least}. Use for example --{name}={max(least, 1)}."
                )
        for name in _ABOVE_ZERO:
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"--{name}={value} is out of range; expected more than 0.")
        for name in _FROM_ZERO:
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ConfigError(
                    f"--{name}={value} is out of range; expected 0 to choose, or more."
                )
        for name, (least_real, most) in _BETWEEN.items():
            value = getattr(self, name)
            if not least_real <= value <= most:
                raise ConfigError(
                    f"--{name}={value} is out of range; expected {least_real:.10g} to {most:.10g}."
                )
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ConfigError(
                f"--learning_rate={self.learning_rate} is out of range; expected more than 0."
            )
        self._require_together()

    def _require_together(self) -> None:
        """Refuses settings that contradict each other."""
        if self.compress != "none" and self.wire_dtype != "float32":
            raise ConfigError(
                f"--compress={self.compress} and --wire_dtype={self.wire_dtype} both say how "
                "gradients travel; expected one of them. Leave --wire_dtype away."
            )
        if self.on_nan == "rollback" and not self.keep_checkpoints:
            raise ConfigError(
                "--on_nan=rollback goes back to a checkpoint, of which --keep_checkpoints=0 writes "
                "none; expected at least one. Leave --keep_checkpoints away, or use --on_nan=stop."
            )

    @property
    def bucket_bytes(self) -> int:
        """Bytes of gradients that travel in one all-reduce; 0 to choose."""
        return int(self.bucket_mb * 2**20)

    def as_dict(self) -> dict[str, object]:
        """Every setting by its name, ready for JSON."""
        names = [each.name for each in fields(self) if each.compare]
        return {name: getattr(self, name) for name in names}

    def as_flags(self) -> dict[str, object]:
        """Every setting under the name of its flag, as it was given."""
        return {f"--{name}": value for name, value in (self.as_dict() | dict(self.typed)).items()}


def local_path(given: object, flag: str) -> str:
    """A path of this machine as it is meant: absolute, with the user's home in the place of `~`.

    Links in it stay what they are. A remote store would otherwise become a folder `gs:` that is
    lost with the machine.

    Args:
        given: a text or a `pathlib.Path`.
        flag: what it was given as, for messages.

    Raises:
        ConfigError: it is no path, is that of a remote store, or can't be shown; or it is relative
            to a folder that isn't there any more.
    """
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(text, str):
        raise ConfigError(f"{flag} is {text!r}; expected a path, e.g. {flag}=runs/first")
    if not text.strip():
        raise ConfigError(f"{flag} is empty; expected a folder, e.g. {flag}=runs/first")
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in text):
        # A line break would end a printed command half-way, and NUL no file can have.
        raise ConfigError(
            f"{flag}={text!r} has a character that can't be shown; expected letters, digits, "
            f"spaces and signs. Use for example {flag}=runs/first."
        )
    if remote := _REMOTE.match(text):
        raise ConfigError(
            f"{flag}={text} is in a remote store ({remote[1]}://); expected a folder of this "
            "machine, or of a file system that is mounted on it. Use a local one, for example "
            f"{flag}=runs/first, and copy it when the run has ended, or mount the store."
        )
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ConfigError(
            f"{flag}={text} is in the home of a user who isn't known here; expected one who is, "
            f"or another folder. Use {flag}=./{text} if that is its name."
        )
    if not os.path.isabs(path) and not current_folder().is_absolute():
        raise ConfigError(
            f"{flag}={text} is relative to the current folder, which isn't there any more; "
            "expected one that is. Go to another folder, or give the whole path."
        )
    return str(current_folder() / path)
