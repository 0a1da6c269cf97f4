"""How fast to learn: a rate that follows the batch and the course of a run."""

from dataclasses import dataclass

import keras

from tfscale.settings import Config
from tfscale.structures import Foreign

# For 256 examples a step, and scaled with the batch: sgd and lars after the ResNet recipes of Goyal
# and You, lamb after its paper's range.
SCALED_DEFAULTS, _DEFAULT_BATCH = {"sgd": 0.1, "lamb": 2e-3, "lars": 2.0}, 256
# Of all others, whatever the batch is, as in Keras.
_DEFAULT = 1e-3


@dataclass(frozen=True)
class LearningRate:
    """The peak of a run's learning rate and how it came about.

    Args:
        peak: after the warm-up.
        base: what was asked for, for `base_batch` examples a step.
        base_batch: examples; 0 where the rate isn't scaled.
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

    @property
    def is_constant(self) -> bool:
        """Whether it is the same in every step, however many there are."""
        return self.schedule == "constant" and not self.warmup_steps

    def at(self, step: int) -> float:
        """The rate after so many steps."""
        return self.peak if self.is_constant else float(self.as_schedule()(step))

    def __str__(self) -> str:
        """The rate and its scaling in words."""
        scaling = f" = {self.base:.4g} x {self.global_batch} / {self.base_batch}"
        return (
            f"{self.peak:.4g}{scaling if self.base_batch else ''} at its highest; "
            f"{self.warmup_steps} steps of warm-up, then {self.schedule}, "
            f"{self.total_steps} steps in all"
        )

    def as_schedule(self) -> Foreign:
        """What a Keras optimizer takes as its `learning_rate`.

        Linear scaling and warm-up after P. Goyal et al., "Accurate, Large Minibatch SGD", 2017,
        https://arxiv.org/abs/1706.02677; cosine after I. Loshchilov and F. Hutter, "SGDR", 2016,
        https://arxiv.org/abs/1608.03983.
        """
        if self.is_constant:
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
    """Lays out the course of the rate.

    A rate that somebody gives is the one that the run has; it is scaled with the global batch where
    --base_batch_size says for which one it is meant. So is a default that comes from a recipe.
    """
    total_steps = steps_per_epoch * config.epochs
    base, base_batch = config.learning_rate, config.base_batch_size
    if base is None:
        base = SCALED_DEFAULTS.get(config.optimizer, _DEFAULT)
        if config.optimizer in SCALED_DEFAULTS:
            base_batch = base_batch or _DEFAULT_BATCH
    return LearningRate(
        peak=base * config.batch_size / base_batch if base_batch else base,
        base=base,
        base_batch=base_batch,
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
