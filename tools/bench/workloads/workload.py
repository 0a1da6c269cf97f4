"""What every workload gives, and which one a task names."""

from types import ModuleType
from typing import Any, Protocol

import numpy as np

from tfscale.structures import Foreign
from tools.bench.task import Task

COMPUTING = ("tiny-mlp", "small-resnet", "full-resnet")


class Workload(Protocol):
    """One network and one batch, as every system needs them.

    Attributes:
        name: for the reader.
        examples_per_step: of one replica.
        loss: by its Keras name.
    """

    name: str
    examples_per_step: int
    loss: str

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels of one replica's step."""

    def keras_model(self, keras: ModuleType) -> Foreign:
        """The uncompiled model, for `keras` (3) or `tf_keras` (2)."""

    def plain(self) -> tuple[list[Any], Any]:
        """Variables, and a function of `(x, y)` that gives the mean loss, in plain TensorFlow."""

    def torch_model(self) -> tuple[Any, Any]:
        """A module, and a function of `(output, y)` that gives the mean loss, in PyTorch."""


def is_emulated(task: Task) -> bool:
    """Whether a device that waits is trained on, and not this machine's processors."""
    return not task.dataset and task.workload not in COMPUTING


def load(task: Task) -> Workload:
    """Makes the workload that a task names."""
    if task.workload == "tiny-mlp":
        from tools.bench.workloads.tiny_mlp import TinyMlp

        return TinyMlp()
    if task.workload == "small-resnet":
        from tools.bench.workloads.small_resnet import SmallResNet

        return SmallResNet()
    if task.workload == "full-resnet":
        from tools.bench.workloads.full_resnet import FullResNet

        return FullResNet()
    from tools.bench.workloads.waiting import Waiting
    from tools.profiles.profile import load_profile

    profile = load_profile(task.workload).scaled(task.time_scale)
    return Waiting(profile, is_timed=task.is_timed)
