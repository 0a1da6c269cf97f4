"""How a model comes to be compiled: by the flags, or by its own file.

A model that comes compiled keeps its own optimizer, so that some flags would do nothing: they are
refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from tfscale.errors import ConfigError
from tfscale.fit.checks.build import require_fit
from tfscale.fit.data_and_model import Built
from tfscale.fit.keras.layers import layers_within
from tfscale.fit.keras.optimizer import unknown_variables
from tfscale.model.asked_metrics import Asked, read_metrics
from tfscale.model.learning_rate import LearningRate, learning_rate, rate_of
from tfscale.model.optimizers import make_optimizer
from tfscale.model.task import compile_model
from tfscale.settings import SETTINGS, Config
from tfscale.startup.job import Job
from tfscale.structures import Foreign

_SAMPLES = 8  # places of a run at which its rate is looked up
_NOTHING = 1e-6  # of the highest rate: what is below it all the time learns nothing
_AGAIN = "keras.saving.load_model(path, compile=False)"


@dataclass(frozen=True)
class OwnRate:
    """The learning rate that a compiled model brings with it.

    Args:
        first: at the first step of this run, None where only the step itself tells.
        last: at the last one.
        iterations: steps that its optimizer has taken before this run.
    """

    first: float | None
    last: float | None
    iterations: int

    def __str__(self) -> str:
        """For the plan."""
        text = "the model's own"
        if self.first is not None and self.last is not None:
            text += f": {self.first:.4g}"
            text += "" if self.first == self.last else f", {self.last:.4g} at the last step"
        if self.iterations:
            text += f"; its optimizer has taken {self.iterations} steps before"
        return text


def rate_and_loss(job: Job, built: Built) -> tuple[LearningRate | OwnRate, str]:
    """Sees to it that a model is compiled: as the flags say, or as it came.

    Returns:
        The learning rate of the run, and the loss in words.

    Raises:
        ConfigError: a flag would do nothing, or the model would learn nothing.
    """
    files = built.data.file, built.model_file
    metrics = [one for file in files for one in read_metrics(file.metrics, file.name)]
    if not built.model.compiled:
        return _compile(job, built, metrics)
    name = built.model_file.name
    require_no_overridden_flags(job.config, name)
    if metrics:
        raise ConfigError(
            f"{name} gives a compiled model, which keeps its own metrics: `metrics` of "
            f"{' and '.join(file.name for file in files if file.metrics)} would do nothing; "
            "expected them in compile(). Leave `metrics` out, or give the model uncompiled."
        )
    total_steps = (built.data.training.steps or 0) * job.config.epochs
    rate = own_rate(built.model, name, total_steps=total_steps)
    return rate, "the model's own"


def _compile(job: Job, built: Built, metrics: Asked) -> tuple[LearningRate, str]:
    """Gives a model that came uncompiled the loss of its task and the run's optimizer.

    Returns:
        The learning rate, and the loss in words.
    """
    config, training = job.config, built.data.training
    rate = learning_rate(config, steps_per_epoch=training.steps or 0)
    with job.strategy.scope():
        optimizer = make_optimizer(config, rate.as_schedule())
        files, labels = built.data.file, training.spec[1]
        loss = compile_model(built.model, files, labels, optimizer, training.first, metrics)
    return rate, loss


def require_no_overridden_flags(config: Config, name: str) -> None:
    """Refuses flags that the optimizer of a compiled model overrides.

    Args:
        config: what is asked for.
        name: how to name the model file.

    Raises:
        ConfigError: one of them was given, or isn't its default.
    """
    asked = [
        f"--{flag}={getattr(config, flag)}"
        for flag, setting in SETTINGS.items()
        if setting.belongs_to_optimizer and config.asks_for(flag)
    ]
    if asked:
        raise ConfigError(
            f"{name} gives a compiled model, which keeps its own optimizer: "
            f"{' and '.join(asked)} would do nothing; expected none of them. Leave "
            f"{'it' if len(asked) == 1 else 'them'} out and set the optimizer in compile(), or "
            f"give the model uncompiled (a saved one with {_AGAIN})."
        )


def require_precision(config: Config, model: keras.Model, name: str) -> None:
    """Refuses a --precision that no layer with weights has: a loaded model keeps its own.

    Raises:
        ConfigError: it was given, or isn't the default.
    """
    found = precisions(model)
    has_it = any(policy.split("_from_")[-1] == config.precision for policy in found)
    if config.asks_for("precision") and found and not has_it:
        raise ConfigError(
            f"--precision={config.precision} would do nothing: the layers of the model of {name} "
            f"were made with {', '.join(found)}, as a loaded model keeps what it was saved with; "
            f"expected layers that are made in this run. Leave --precision out, or build the "
            "layers anew and give them the saved weights."
        )


def require_known_variables(model: keras.Model, name: str) -> None:
    """Refuses weights that were unfrozen after the optimizer was built, as a loaded one is.

    Args:
        model: compiled and built.
        name: how to name the model file.

    Raises:
        ConfigError: the optimizer has no place for a trainable weight.
    """
    unknown = unknown_variables(model)
    if unknown:
        raise ConfigError(
            f"{name}: {unknown[0]} and {len(unknown) - 1} more weights are trainable but were not "
            "when the model's optimizer was built; expected compile() after unfreezing. Call "
            "model.compile(...) with a new optimizer in build."
        )


def require_fitting_splits(job: Job, built: Built) -> None:
    """Refuses a split that the model can't take, before an epoch is trained.

    Raises:
        ConfigError: there is one.
    """
    splits = {name: found.spec for name, found in built.data.evaluated.items()}
    require_fit(built.model, splits, built.data.training.spec, job.strategy)


def precisions(model: keras.Model) -> list[str]:
    """The policies of the layers that have weights of their own, most frequent first."""
    names = [
        layer.dtype_policy.name
        for layer in layers_within(model)
        if layer.weights and not layers_within(layer)
    ]
    return sorted(set(names), key=lambda name: (-names.count(name), name))


def own_rate(model: keras.Model, name: str, *, total_steps: int) -> OwnRate:
    """What a compiled model's optimizer does with its rate in this run.

    Args:
        model: compiled.
        name: how to name the model file.
        total_steps: steps of the run, 0 where that isn't known.

    Raises:
        ConfigError: its schedule is over, so that it would learn nothing.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer is None or hasattr(optimizer, "optimizers"):
        return OwnRate(None, None, 0)  # several optimizers, or the model's own way
    done = int(keras.ops.convert_to_numpy(optimizer.iterations))
    rate = rate_of(optimizer)
    if isinstance(rate, float):
        return OwnRate(rate, rate, done)
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return OwnRate(None, None, done)
    coming = _values(rate, done, done + max(1, total_steps) - 1)
    before = _values(rate, 0, done)
    if done and max(coming) < _NOTHING * max(before):
        raise ConfigError(
            f"{name} gives a compiled model whose learning rate is {max(coming):.3g} in this run: "
            f"its {type(rate).__name__} is over, its optimizer has taken {done} steps before; "
            "expected a rate to learn with. Compile it with a new optimizer, or give it "
            f"uncompiled ({_AGAIN}) and use --learning_rate."
        )
    return OwnRate(coming[0], coming[-1], done)


def _values(rate: Foreign, first: int, last: int) -> Sequence[float]:
    steps = sorted({first + (last - first) * k // (_SAMPLES - 1) for k in range(_SAMPLES)})
    return [float(keras.ops.convert_to_numpy(rate(step))) for step in steps]
