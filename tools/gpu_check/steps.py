"""The programs that are run, in the order of what they tell: each with its flags and its limit."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What is looked at.

    Args:
        gpus: how many there are.
        logical: logical CPU devices in place of them, to try the steps out without a GPU; a small
            network then stands for the large one.
    """

    gpus: int
    logical: int = 0

    @property
    def sizes(self) -> list[int]:
        """How many of them are compared: 1, 2, 4 ... and all."""
        count = self.logical or self.gpus
        return [*(2**power for power in range(10) if 2**power < count), count]


@dataclass(frozen=True)
class Step:
    """One program.

    Args:
        name: for the reader, and of its folder and its log.
        about: what it tells.
        command: program and arguments.
        limit_seconds: after which it is ended.
    """

    name: str
    about: str
    command: tuple[str, ...]
    limit_seconds: float


def steps(machine: Machine, out: Path) -> list[Step]:
    """All of them, the most telling first.

    Args:
        machine: what is looked at.
        out: the folder of results; each step that writes has a folder of its name in it.
    """
    return [
        Step("driver", "what the driver says of the GPUs", ("nvidia-smi",), 15.0),
        Step("doctor", "whether a run would fail, and why", _launched("doctor", "--json"), 95.0),
        _training("training", "a first training, on all GPUs", machine, out),
        *_benches(machine, out, "small-resnet", ["plain_keras,tfscale,tfscale:jit=1"]),
        _ring("ring", "two workers that share one GPU, by a ring", machine, out),
        *_benches(machine, out, _large(machine), ["plain_keras", "tfscale"]),
        _parity("parity", "whether GPUs train what the processor trains", machine, out),
        *_benches(machine, out, _large(machine), map(_with_precision, _LOW_PRECISION)),
        *_scaling(machine, out),
        _profile("profile", "how long the layers of a ResNet-50 take", machine, out),
    ]


# Half of them plain Keras's, which is what ours are compared with.
_LOW_PRECISION = (
    ("plain_keras", "mixed_float16"),
    ("tfscale", "mixed_float16"),
    ("plain_keras:jit=1", "mixed_float16"),
    ("tfscale:jit=1", "mixed_float16"),
    ("plain_keras", "mixed_bfloat16"),
    ("tfscale", "mixed_bfloat16"),
)
_DIGITS = ("--dataset=datasets/digits.py", "--model=models/small_cnn.py", "--batch_size=64")
_TRAINED = ("--epochs=15", "--optimizer=adamw", "--learning_rate=0.0025", "--overwrite")


def _launched(program: str, *flags: str) -> tuple[str, ...]:
    return (sys.executable, f"launch/{program}.py", *flags)


def _large(machine: Machine) -> str:
    return "small-resnet" if machine.logical else "full-resnet"


def _with_precision(pair: tuple[str, str]) -> str:
    return f"{pair[0]}:precision={pair[1]}"


def _training(name: str, about: str, machine: Machine, out: Path) -> Step:
    own = (f"--run_dir={out / name}", f"--devices={machine.logical}")
    return Step(name, about, _launched("worker", *_DIGITS, *_TRAINED, *own), 90.0)


def _ring(name: str, about: str, machine: Machine, out: Path) -> Step:
    own = (f"--run_dir={out / name}", "--collectives=ring")
    shown = () if machine.logical else ("env", "CUDA_VISIBLE_DEVICES=0")
    command = _launched("local", "--workers=2", "--", *_DIGITS, *_TRAINED, *own)
    return Step(name, about, (*shown, *command), 90.0)


def _parity(name: str, about: str, machine: Machine, out: Path) -> Step:
    module = (sys.executable, "-m", "tests.jobs.on_devices")
    return Step(name, about, (*module, str(out / name), str(machine.logical)), 240.0)


def _benches(machine: Machine, out: Path, model: str, systems: Iterable[str]) -> list[Step]:
    """One after the other: large models of several systems don't fit into one GPU side by side."""
    where = "--workers=1" if machine.logical else "--gpus=1"
    return [_bench(out, model, system, where) for system in systems]


def _bench(out: Path, model: str, systems: str, where: str) -> Step:
    name = f"{model}-{systems}".replace(":", "-").replace(",", "-").replace("=", "-")
    flags = (f"--model={model}", f"--systems={systems}", where, "--blocks=3", "--block_seconds=2")
    command = _launched("bench", *flags, f"--out={out / name}")
    return Step(name, f"{model} by {systems}", command, 120.0)


def _scaling(machine: Machine, out: Path) -> list[Step]:
    """All sizes in one run: only that way they are compared under the same conditions."""
    if machine.logical:
        systems = ",".join(f"tfscale:devices={size}" for size in machine.sizes)
        return [_bench(out, "small-resnet", systems, "--workers=1")]
    if machine.gpus == 1:
        return []
    where = f"--gpus={','.join(map(str, machine.sizes))}"
    step = _bench(out, "full-resnet", "tfscale:precision=mixed_float16", where)
    return [replace(step, name="scaling", about=f"{step.about} on {where}", limit_seconds=240.0)]


def _profile(name: str, about: str, machine: Machine, out: Path) -> Step:
    depth, batch, times = (18, 4, 1) if machine.logical else (50, 64, 10)
    flags = ["--dataset=datasets/synthetic.py", "--model=models/resnet.py"]
    flags += [f"--model_option=depth={depth}", f"--batch_size={batch}", f"--steps={times}"]
    if not machine.logical:
        flags += ["--dataset_option=shape=(224, 224, 3)", "--dataset_option=size=640"]
    return Step(name, about, _launched("profile_model", *flags, f"--out={out / name}.json"), 150.0)
