"""How seldom Python may be entered: never past a batch at which a callback wants to be called.

Loops on the device are as long as they like (`loop_length`) until a callback has a hook of batches.
Keras calls these after every batch, or after every `steps_per_execution` of them; a callback that
is called at other batches gives another result, which then depends on how fast the machine is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras

_VISIT_MS = "3 to 9"  # measured with one and two workers on two cores: Python and a boundary
_LOOPS = {"train": "fit", "test": "evaluate", "predict": "predict"}
# on_train_batch_* of Keras's own Callback calls these.
_ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}
# They show and remember; a loop's last batch stands for all of it.
_CONTENT_WITH_ANY = (keras.callbacks.ProgbarLogger, keras.callbacks.History)


@dataclass(frozen=True)
class Wish:
    """A callback's wish to be called at batches of a loop.

    Args:
        name: of the callback, for people.
        loop: "fit", "evaluate" or "predict".
        every: batches from one call that it needs to the next.
        until: batches of the loop after which it needs no more calls; None for never.
    """

    name: str
    loop: str
    every: int = 1
    until: int | None = None

    def __str__(self) -> str:
        """What the plan says about it."""
        batches = "every batch" if self.every == 1 else f"every {self.every} batches"
        return f"{self.name} wants {batches} of {self.loop}" + (
            f" up to batch {self.until}" if self.until else ""
        )


def wishes_of(callbacks: Iterable[keras.callbacks.Callback]) -> list[Wish]:
    """What callbacks need.

    A callback with `every_batch = False` is content with the batches at which a loop ends; one with
    `wishes` says them itself, as who stands for several does.
    """
    found: list[Wish] = []
    for callback in callbacks:
        if getattr(callback, "every_batch", None) is False:
            continue
        said: Sequence[Wish] | None = getattr(callback, "wishes", None)
        found.extend(_own_wishes(callback) if said is None else said)
    return found


def _own_wishes(callback: keras.callbacks.Callback) -> list[Wish]:
    name = type(callback).__name__
    kind = type(callback)
    if kind in _CONTENT_WITH_ANY:
        return []
    if kind is keras.callbacks.TensorBoard:
        return _of_tensorboard(callback)
    if kind in _saving_kinds():
        # They count the batches themselves, from one call to the next.
        return [] if callback.save_freq == "epoch" else [Wish(name, "fit", callback.save_freq)]
    return [
        Wish(name, loop)
        for mode, loop in _LOOPS.items()
        if any(has_hook(callback, f"on_{mode}_batch_{when}") for when in ("begin", "end"))
    ]


def _of_tensorboard(callback: keras.callbacks.TensorBoard) -> list[Wish]:
    """It numbers its points by counting its calls."""
    if callback.update_freq != "epoch":
        return [Wish("TensorBoard", "fit"), Wish("TensorBoard", "evaluate")]
    last = callback._stop_batch  # noqa: SLF001 - what profile_batch says, of several spellings
    return [Wish("TensorBoard", "fit", until=last)] if last else []


def _saving_kinds() -> tuple[type, ...]:
    names = ("ModelCheckpoint", "OrbaxCheckpoint")
    return tuple(getattr(keras.callbacks, name) for name in names if hasattr(keras.callbacks, name))


def has_hook(callback: keras.callbacks.Callback, hook: str) -> bool:
    """Whether a callback does something in a hook, by its class or as one of its attributes."""
    stock = getattr(keras.callbacks.Callback, hook)
    own = getattr(callback, hook)
    if getattr(own, "__func__", own) is not stock:
        return True
    alias = _ALIASES.get(hook)
    return alias is not None and has_hook(callback, alias)


def described(wishes: Sequence[Wish], fixed_steps: int) -> str:
    """What the plan says about them: who makes loops short, and what that costs.

    Args:
        wishes: of all callbacks.
        fixed_steps: what `steps_per_execution` says, or 0.
    """
    if not wishes:
        return ""
    if fixed_steps:
        names = ", ".join(dict.fromkeys(wish.name for wish in wishes))
        return f"{names} called every {fixed_steps} batches, as steps_per_execution says"
    text = "; ".join(dict.fromkeys(str(wish) for wish in wishes))
    if any(wish.loop == "fit" and wish.every == 1 for wish in wishes):
        text += (
            f": loops of one step, each some {_VISIT_MS} ms longer. --steps_per_execution=8 would "
            "call every 8 batches"
        )
    return text


class Rhythm:
    """After how many steps Python is entered next, given who wants to be called.

    Args:
        wishes: of all callbacks.
        fixed_steps: what `steps_per_execution` says, for which callbacks were written then, as in
            Keras; 0 where nobody has said anything.
        is_compiled: whether `compile` says so; then a hook gets the batch number that Keras gives,
            which is that of a whole loop also where the epoch ends before it.
    """

    def __init__(
        self, wishes: Sequence[Wish] = (), fixed_steps: int = 0, *, is_compiled: bool = False
    ) -> None:
        self._wishes = wishes
        self._fixed_steps = fixed_steps
        self._is_compiled = is_compiled

    def steps(self, loop: str, taken: int, wanted: int) -> int:
        """How many steps the next call takes, if the epoch has so many left.

        Args:
            loop: "fit", "evaluate" or "predict".
            taken: steps since the loop began, of all its epochs.
            wanted: how many steps would be best if nobody wanted anything.
        """
        gaps = [
            wish.every - taken % wish.every
            for wish in self._wishes
            if wish.loop == loop and (wish.until is None or taken < wish.until)
        ]
        if self._fixed_steps:
            # An evaluation that nobody watches can be as long as it likes.
            return self._fixed_steps if gaps or loop != "evaluate" else wanted
        return min([wanted, *gaps])

    def last_batch(self, done: int, steps: int, asked: int) -> int:
        """The batch number for the hooks at the end of a call.

        Args:
            done: steps of the epoch before the call.
            steps: that it took.
            asked: that it would have taken, had the epoch been longer.
        """
        is_kerass = self._is_compiled and asked == self._fixed_steps
        return done + (asked if is_kerass else steps) - 1
