"""What one worker of a benchmark is asked to do; travels to its process as JSON."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.settings import Config

SYSTEMS = ("tfscale", "stock", "ddp", "plain_keras", "bare")  # each is a file of systems/


@dataclass(frozen=True)
class Options:
    """How a system trains; each takes what it knows.

    Args:
        wire_dtype: of gradients while they travel.
        bucket_mb: mebibytes of gradients in one all-reduce; 0 lets the system choose.
        compress: "none", "int8" or "topk".
        devices: logical CPU devices of a worker; 0 takes the real devices.
        jit: 1 lets XLA compile forward and backward.
        precision: a dtype policy of Keras.
    """

    wire_dtype: str = "float32"
    bucket_mb: float = 0.0
    compress: str = "none"
    devices: int = 0
    jit: int = 0
    precision: str = "float32"


@dataclass(frozen=True)
class Variant:
    """A system with its options, as `SYSTEM[:OPTION=VALUE]...` names it."""

    system: str
    options: Options

    @classmethod
    def parse(cls, text: str) -> "Variant":
        """Reads for example `tfscale:wire_dtype=float16`.

        Raises:
            ConfigError: an unknown system or option, or a value that none can mean.
        """
        system, *parts = text.split(":")
        given = dict(part.partition("=")[::2] for part in parts)
        known = asdict(Options())
        unknown = [name for name in given if name not in known]
        if system not in SYSTEMS or unknown:
            raise ConfigError(
                f"--systems={text} is unknown; expected {', '.join(SYSTEMS)}, each with any of "
                f"{', '.join(f':{name}=' for name in known)}. Use for example "
                "--systems=tfscale,tfscale:wire_dtype=float16,stock."
            )
        try:
            values = {name: type(known[name])(value) for name, value in given.items()}
        except ValueError as error:
            raise ConfigError(f"--systems={text}: {error}; expected a number.") from error
        if values.get("jit", 0) not in (0, 1):
            raise ConfigError(f"--systems={text}: jit is {values['jit']}; expected 0 or 1.")
        Config(run_dir="nothing is written", **values)  # refuses what training would refuse
        return cls(system, Options(**values))

    def __str__(self) -> str:
        """The name, with the options that differ from their defaults."""
        default = asdict(Options())
        changed = {k: v for k, v in asdict(self.options).items() if v != default[k]}
        # 8 rather than 8.0, as it is written on the command line.
        parts = [f"{name}={value}".removesuffix(".0") for name, value in changed.items()]
        return ":".join([self.system, *parts])


@dataclass(frozen=True)
class Task:
    """One worker's part.

    Args:
        variant: the system.
        workload: name of a computing workload, or name or path of a profile.
        time_scale: factor on the times of a profile.
        hosts: `host:port` of every worker; empty for a worker alone.
        index: of this worker.
        dataset: path of a dataset file, where `workload` is the path of a model file.
        batch_size: examples of one replica's step, where `workload` is a model file.
        is_timed: whether layers write down when they are done, for a timeline.
    """

    variant: Variant
    workload: str
    time_scale: float = 1.0
    hosts: tuple[str, ...] = field(default=())
    index: int = 0
    dataset: str = ""
    batch_size: int = 32
    is_timed: bool = False

    @property
    def cluster(self) -> Cluster:
        """Who the workers are."""
        return Cluster.from_hosts(self.hosts, self.index) if self.hosts else Cluster()

    @property
    def options(self) -> Options:
        """How the system trains."""
        return self.variant.options

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """The task that a worker was started with."""
        values: dict[str, Any] = json.loads(text)
        variant = values.pop("variant")
        options = Options(**variant["options"])
        hosts = tuple(values.pop("hosts"))
        return cls(variant=Variant(variant["system"], options), hosts=hosts, **values)
