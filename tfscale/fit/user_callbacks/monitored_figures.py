"""Every figure that one of Keras's callbacks names, looked for before the first step.

Where a name isn't in the logs Keras warns, on the standard error, at the end of an epoch: nothing
stops early, and the last model passes for the best. A name in a path, and a metric of which Keras
can't tell whether less is better, fail there.
"""

import difflib
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfscale.errors import ConfigError, one_line
from tfscale.fit.keras.monitor_direction import decide, is_own, watches
from tfscale.fit.keras.saving import path_of
from tfscale.fit.prepare_job import Prepared
from tfscale.structures import Json

_EPOCH, _BATCH = "on_epoch_end", "on_train_batch_end"
# They put the rate into the logs of an epoch, for who comes after them (keras 3.15.1).
_TELL_THE_RATE = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)
_CHIEF = "the chief"  # as a source of figures, on a worker without its callbacks
_LIKELY = 0.5  # how alike two names are, from which on one may be meant by the other: acc, accuracy


@dataclass(frozen=True)
class Figures:
    """What the logs of a run will have, with a value for each name that has its shape.

    Args:
        batches: at the end of a batch of training.
        epochs: at the end of an epoch.
        is_validated: whether there is a validation split.
        others: what may put other names there, which nobody knows before it does.
    """

    batches: Mapping[str, Json]
    epochs: Mapping[str, Json]
    is_validated: bool
    others: tuple[str, ...] = ()


def figures_of(prepared: Prepared, scored: Sequence[str], *, has_all_callbacks: bool) -> Figures:
    """What the model, its validation and the library put into the logs.

    Args:
        prepared: what trains.
        scored: figures of whole splits.
        has_all_callbacks: whether this worker has those of the chief.
    """
    distributed, others = prepared.distributed, [] if has_all_callbacks else [_CHIEF]
    is_validated = "validation" in prepared.data.evaluated
    trained = distributed.parts.logs.before_any()
    tested = distributed.parts.test_logs.before_any() if is_validated else {}
    if trained is None or tested is None:
        others.append("a metric of the model")
    batches = _as_logs(trained or {})
    epochs = dict(batches)
    if is_validated:
        epochs |= _as_logs(tested or {}, "val_") | {f"val_{name}": 0.0 for name in scored}
    return Figures(batches, epochs, is_validated, tuple(others))


def _as_logs(values: Mapping[str, Json], prefix: str = "") -> dict[str, Json]:
    """As Keras hands them to callbacks: what is one number is a float."""
    return {f"{prefix}{name}": one if np.ndim(one) else float(one) for name, one in values.items()}


@dataclass(frozen=True)
class Watched:
    """A figure that a callback looks at when an epoch ends.

    Args:
        callback: the name of its class.
        figure: the name.
        sources: where it has to come from, if nothing else puts it into the logs.
    """

    callback: str
    figure: str
    sources: tuple[str, ...] = ()


def watched(
    callbacks: Sequence[keras.callbacks.Callback], figures: Figures, model: keras.Model, name: str
) -> list[Watched]:
    """Checks what callbacks name, and lets each decide whether less of it is better.

    A callback of the user's own may put figures into the logs that those after it are given: then
    a name that nobody knows is not refused.

    Args:
        callbacks: the user's, in their order.
        figures: what the logs will have.
        model: built.
        name: how to name the model file.

    Returns:
        What `FirstEpoch` has to look for.

    Raises:
        ConfigError: a figure won't be there, is no number, or Keras can't tell what is better.
    """
    found: list[Watched] = []
    for place, callback in enumerate(callbacks):
        saves_at = getattr(callback, "save_freq", "epoch")
        hook = _EPOCH if saves_at == "epoch" else _BATCH
        seen = _Seen.at(place, hook, callbacks, figures, model)
        kind = type(callback).__name__
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            came = f"{name}: callbacks() has {kind}(filepath={callback.filepath!r})"
            _require_path(callback, seen, came)
        if isinstance(callback, keras.callbacks.TerminateOnNaN) and not is_own(callback, _BATCH):
            seen = _Seen.at(place, _BATCH, callbacks, figures, model)
            seen.find("loss", f"{name}: callbacks() has {kind}, which looks at the loss")
        if watches(callback):
            came = f"{name}: callbacks() has {kind}(monitor={callback.monitor!r})"
            sources = _require_monitor(callback, seen, model, came)
            if sources is not None and hook == _EPOCH:
                found.append(Watched(kind, callback.monitor, sources))
    return found


class FirstEpoch(keras.callbacks.Callback):
    """Says which figures aren't there when the first epoch has ended; comes after who adds them.

    Args:
        found: figures that callbacks look at.
        complain: gets a line for each that isn't there.
    """

    def __init__(self, found: Sequence[Watched], complain: Callable[[str], None]) -> None:
        super().__init__()
        self._found = list(found)
        self._complain = complain

    @property
    def rows(self) -> dict[str, object]:
        """What the plan says about figures of which only the user knows."""
        told = [
            f"{one.callback} monitors {one.figure}: expected from {', '.join(one.sources)}"
            for one in self._found
            if one.sources
        ]
        return {"monitored": "; ".join(told)} if told else {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks once."""
        there = sorted(logs or {})
        for one in self._found:
            if one.figure not in there:
                self._complain(
                    f"{one.callback} has nothing to go by: there is no {one.figure} at the end of "
                    f"epoch {epoch + 1}, only {', '.join(there)}."
                )
        self._found = []


@dataclass(frozen=True)
class _Seen:
    """What a callback is given in a hook, as far as that is known.

    Args:
        figures: by their names.
        sources: what may add to them.
        later: callbacks of the user's own that may, but come after it.
        why: what to say of a name that isn't there, by the beginning of the name.
    """

    figures: dict[str, Json]
    sources: tuple[str, ...]
    later: tuple[str, ...]
    why: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(
        cls,
        place: int,
        hook: str,
        callbacks: Sequence[keras.callbacks.Callback],
        figures: Figures,
        model: keras.Model,
    ) -> "_Seen":
        """What the callback at a place of the list is given.

        One whose hook is the user's own may be its own source.
        """
        known = dict(figures.epochs if hook == _EPOCH else figures.batches)
        before, after = callbacks[: place + 1], callbacks[place + 1 :]
        if hook == _EPOCH and any(isinstance(one, _TELL_THE_RATE) for one in before):
            known |= _rates(model)
        own = [type(one).__name__ for one in before if is_own(one, hook)]
        why = {}
        if hook == _BATCH:
            why["val_"] = " Nothing is validated between epochs: only save_freq='epoch' has it."
        elif not figures.is_validated:
            why["val_"] = " This run has no validation split: the dataset file's load gives none."
        if hook == _EPOCH and any(isinstance(one, _TELL_THE_RATE) for one in after):
            why["learning_rate"] = " The callback that puts it into the logs has to come before."
        later = tuple(type(one).__name__ for one in after if is_own(one, hook))
        return cls(known, (*figures.others, *own), later, why)

    def find(self, name: str, came: str) -> tuple[str, ...]:
        """Where a figure comes from: nothing to say if it is known.

        Raises:
            ConfigError: from nowhere.
        """
        if name in self.figures:
            return ()
        if self.sources:
            return self.sources
        raise ConfigError(
            f"{came}, but there will be no {name!r} in the logs; expected one of "
            f"{', '.join(sorted(self.figures))}.{self._advice(name)}"
        )

    def _advice(self, name: str) -> str:
        said = "".join(text for start, text in self.why.items() if name.startswith(start))
        longer = [one for one in self.figures if name and one.startswith(name)]
        likely = longer or difflib.get_close_matches(name, self.figures, n=1, cutoff=_LIKELY)
        said += f" Did you mean {likely[0]!r}?" if likely else ""
        if self.later:
            said += f" If {', '.join(self.later)} adds it, list that first."
        return said


def _rates(model: keras.Model) -> dict[str, Json]:
    several = getattr(model.optimizer, "optimizers", None)
    if several is None:
        return {"learning_rate": 0.0}
    return {f"learning_rate_{one.name}": 0.0 for one in several}


def _require_monitor(
    callback: keras.callbacks.Callback, seen: _Seen, model: keras.Model, came: str
) -> tuple[str, ...] | None:
    """Where the monitored figure comes from; None where it decides nothing."""
    figure = callback.monitor
    try:
        if not is_own(callback, _EPOCH) and not is_own(callback, "_set_monitor_op"):
            decide(callback, model)
        problem = None
    except ValueError as error:
        problem = error
    decides = getattr(callback, "save_best_only", True)
    sources = seen.find(figure, came) if decides or problem else None
    if np.ndim(seen.figures.get(figure, 0.0)) and decides:
        raise ConfigError(
            f"{came}, which has the shape {np.shape(seen.figures[figure])}; expected one number. "
            "Monitor another figure, or give the metric an average."
        )
    # What only the chief's callbacks may add the chief refuses, which knows whether they do.
    if problem and _CHIEF not in (sources or ()):
        raise ConfigError(
            f"{came}, of which Keras can't tell whether less or more is better; expected "
            "mode='min' or mode='max'. Add one of them."
        ) from problem
    return sources


def _require_path(callback: keras.callbacks.ModelCheckpoint, seen: _Seen, came: str) -> None:
    """Refuses what can't become a path, which Keras tries at the first save."""
    if is_own(callback, "_get_file_path"):
        return
    is_of_epochs = callback.save_freq == "epoch"
    batch = None if is_of_epochs else 0
    named = {"epoch": 1} | ({} if is_of_epochs else {"batch": 1})
    known = _Seen(seen.figures | named, seen.sources, seen.later, dict(seen.why))
    if is_of_epochs:
        known.why["batch"] = " There is a {batch} with save_freq=<a number of batches> only."
    try:
        parts = list(string.Formatter().parse(callback.filepath))
        names = [part[1] for part in parts if part[1] is not None]
        roots = [name.partition(".")[0].partition("[")[0] for name in names]
        unknown = {root: 0.5 for root in roots if known.find(root, came)}
        path_of(callback, batch, seen.figures | unknown)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{came}, which becomes no path ({one_line(error)}); expected for example "
            "'best-{epoch:02d}-{loss:.3f}.keras'. Correct it."
        ) from error
