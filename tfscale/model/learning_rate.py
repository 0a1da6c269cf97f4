"""How fast to learn: a rate that follows the batch and the course of a run."""

from dataclasses import dataclass

import keras

from tfscale.settings import Config
from tfscale.structures import Foreign

# For 256 examples a step: sgd and lars after the ResNet recipes of Goyal and You, the adaptive two
# after their papers' ranges. Every run may say --learning_rate instead.
DEFAULT_LEARNING_RATES = {"sgd": 0.1, "adamw": 1e-3, "lamb": 2e-3, "lars": 2.0}


@dataclass(frozen=True)
class LearningRate:
    """The peak of a run's learning rate and how it came about.

    Args:
        peak: after the warm-up.
        base: what was asked for, for `base_batch` examples a step.
        base_batch: examples.
        global_batch: examples per step of this run.
        warmup_steps: steps in which it rises from zero.
        total_steps: steps of the run.
        schedule: "cosine" or "constant".
    """

    peak: float
    base: float
    base_batch: int
    global_batch: int
    warmup_steps: int
    total_steps: int
    schedule: str

    def __str__(self) -> str:
        """The rate and its scaling in words."""
        return (
            f"{self.peak:.4g} = {self.base:.4g} x {self.global_batch} / {self.base_batch}; "
            f"{self.warmup_steps} steps of warm-up, then {self.schedule}, "
            f"{self.total_steps} steps in all"
        )

    def as_schedule(self) -> Foreign:
        """What a Keras optimizer takes as its `learning_rate`.

        Linear scaling and warm-up after P. Goyal et al., "Accurate, Large Minibatch SGD", 2017,
        https://arxiv.org/abs/1706.02677; cosine after I. Loshchilov and F. Hutter, "SGDR", 2016,
        https://arxiv.org/abs/1608.03983.
        """
        if self.schedule == "constant" and not self.warmup_steps:
            return self.peak  # a plain number, which callbacks such as ReduceLROnPlateau may set
        decay = keras.optimizers.schedules.CosineDecay
        if not self.warmup_steps:
            return decay(self.peak, max(1, self.total_steps))
        return decay(
            initial_learning_rate=0.0,
            warmup_target=self.peak,
            warmup_steps=self.warmup_steps,
            decay_steps=max(1, self.total_steps - self.warmup_steps),
            alpha=1.0 if self.schedule == "constant" else 0.0,
        )


def learning_rate(config: Config, *, steps_per_epoch: int) -> LearningRate:
    """Scales the learning rate with the global batch and lays out its course."""
    total_steps = steps_per_epoch * config.epochs
    base = config.learning_rate or DEFAULT_LEARNING_RATES[config.optimizer]
    return LearningRate(
        peak=base * config.batch_size / config.base_batch_size,
        base=base,
        base_batch=config.base_batch_size,
        global_batch=config.batch_size,
        warmup_steps=round(total_steps * config.warmup_fraction),
        total_steps=total_steps,
        schedule=config.schedule,
    )


def rate_of(optimizer: keras.optimizers.Optimizer) -> Foreign:
    """A float where an optimizer's rate may be set, else its schedule; None if it can't tell."""
    try:
        rate = optimizer.get_config()["learning_rate"]
        if isinstance(rate, dict):
            rate = keras.optimizers.schedules.deserialize(rate)
    except Exception:  # a schedule of the user's own need not know its configuration
        return None
    return rate
