"""The user's own callbacks: on the chief alone, and what they change reaches every worker.

A callback that writes, posts or draws must run once, and one that looks at the clock or throws dice
must decide once. So the chief runs it as plain Keras would; after each of its hooks the others hear
what it has changed: the logs, `stop_training`, variables (a learning rate, weights). What it
evaluates or predicts, the chief computes alone.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras

from tfscale.errors import ConfigError
from tfscale.fit.callbacks.callback_intervals import Wish, has_hook, wishes_of
from tfscale.fit.callbacks.changed_variables import ChangedVariables
from tfscale.fit.callbacks.logs_json import changed_logs, from_json
from tfscale.fit.callbacks.no_exchange import no_exchange
from tfscale.model.user_callbacks import runs_everywhere
from tfscale.startup.job import Job
from tfscale.structures import Foreign, Json

_ALIASES = ("on_batch_begin", "on_batch_end")  # of hooks that Keras calls
HOOKS = tuple(
    name
    for name in dir(keras.callbacks.Callback)
    if name.startswith("on_") and name not in _ALIASES
)
_CHANNEL = "chief"  # on which the chief tells what a hook has changed
_FLAGS = ("stop_training", "stop_evaluating", "stop_predicting")


@dataclass
class Changes:
    """What callbacks of the chief have changed in a hook.

    Args:
        variables: that were assigned.
        has_evaluated: whether the model was evaluated, which starts its metrics over.
    """

    variables: list[Foreign] = field(default_factory=list)
    has_evaluated: bool = False


class Chief:
    """Runs callbacks on the chief, and tells the others.

    Args:
        job: whose workers take part.
        model: the model that is trained.
    """

    def __init__(self, job: Job, model: keras.Model) -> None:
        self._job = job
        self._changed = ChangedVariables(job.strategy, model)
        self._model = model
        self._changes: Changes | None = None
        self._names = ""

    @property
    def is_alone(self) -> bool:
        """Whether a callback runs that no other worker runs."""
        return self._changes is not None

    def require_company(self, what: str) -> None:
        """Refuses what all workers have to take part in.

        Raises:
            ConfigError: a callback of the chief alone does it.
        """
        if self.is_alone:
            raise ConfigError(
                f"{self._names} {what}, in which all workers have to take part, but runs on the "
                "chief alone; expected a callback that runs everywhere. Give it the attribute "
                "everywhere = True."
            )

    def evaluated(self) -> None:
        """Notes that the model's metrics start over."""
        if self._changes is not None:
            self._changes.has_evaluated = True

    def heard_by_all(self, train: Callable[[Any], dict[str, Any]]) -> Callable[[Any], Any]:
        """The same steps; whoever has taken them has heard what was told before."""

        def steps(call: Foreign) -> dict[str, Any]:
            told = self._job.board.sent(_CHANNEL)
            logs = train(call)
            if self._job.cluster.is_chief:
                self._job.board.remove(_CHANNEL, told)
            return logs

        return steps

    def arrange(
        self, callbacks: Sequence[keras.callbacks.Callback]
    ) -> list[keras.callbacks.Callback]:
        """The callbacks of this worker, in the chief's order.

        Args:
            callbacks: the same ones on every worker, as far as they run everywhere.
        """
        if self._job.cluster.num_workers == 1:
            return list(callbacks)
        groups: list[dict[str, Json]] = json.loads(
            self._job.board.broadcast(
                "callbacks", json.dumps([asdict(g) for g in _groups(callbacks)])
            )
        )
        on_chief = iter([callback for callback in callbacks if not runs_everywhere(callback)])
        everywhere = iter([callback for callback in callbacks if runs_everywhere(callback)])
        arranged: list[keras.callbacks.Callback] = []
        for group in groups:
            if group["everywhere"]:
                arranged.extend(next(everywhere) for _ in group["names"])
                continue
            names = group["names"] if self._job.cluster.is_chief else []
            arranged.append(OnChief(self, group, [next(on_chief) for _ in names]))
        return arranged

    def run_hook(self, names: str, run: Callable[[], None], logs: dict[str, Any] | None) -> None:
        """Runs a hook on the chief; on every other worker makes the changes that it made.

        Args:
            names: of the callbacks.
            run: the hook.
            logs: that it gets, and may add to.
        """
        if not self._job.cluster.is_chief:
            self._follow(json.loads(self._job.board.broadcast(_CHANNEL, "")), logs)
            return
        before = dict(logs or {})
        flags = self._flags()
        with self._alone(names) as changes:
            run()
        said: dict[str, Json] = {
            "flags": {name: on for name, on in self._flags().items() if on != flags[name]},
            "logs": changed_logs(before, logs or {}),
            "variables": self._changed.as_json(changes.variables, names),
            "evaluated": changes.has_evaluated,
        }
        changed = {name: said[name] for name in said if said[name]}
        self._job.board.broadcast(_CHANNEL, json.dumps(changed))
        self._changed.share(said["variables"])

    def _follow(self, said: dict[str, Json], logs: dict[str, Any] | None) -> None:
        for name, value in said.get("flags", {}).items():
            setattr(self._model, name, value)
        if logs is not None:
            logs.update({name: from_json(value) for name, value in said.get("logs", {}).items()})
        if said.get("evaluated"):
            self._model.reset_metrics()
        self._changed.share(said.get("variables", {}))

    def _flags(self) -> dict[str, bool]:
        return {name: bool(getattr(self._model, name, False)) for name in _FLAGS}

    @contextlib.contextmanager
    def _alone(self, names: str) -> Iterator[Changes]:
        """While a callback runs: notes what is assigned, and refuses to wait for the others."""
        changes = Changes()

        def refuse() -> None:
            self.require_company("reads a metric, or what else each replica has its own of")

        self._changes, self._names = changes, names
        try:
            with no_exchange(self._job.strategy, changes.variables.append, refuse):
                yield changes
        finally:
            self._changes = None


@dataclass(frozen=True)
class _Group:
    """Callbacks that follow each other and run at the same place.

    Args:
        names: of their classes.
        everywhere: where they run.
        hooks: in which one of them does something.
        wishes: for batches.
    """

    names: list[str]
    everywhere: bool
    hooks: list[str]
    wishes: list[Wish]


def _groups(callbacks: Sequence[keras.callbacks.Callback]) -> list[_Group]:
    groups: list[_Group] = []
    for callback in callbacks:
        everywhere = runs_everywhere(callback)
        if not groups or groups[-1].everywhere != everywhere:
            groups.append(_Group([], everywhere, [], []))
        groups[-1].names.append(type(callback).__name__)
        groups[-1].hooks.extend(hook for hook in HOOKS if has_hook(callback, hook))
        groups[-1].wishes.extend(wishes_of([callback]))
    return groups


class OnChief(keras.callbacks.Callback):
    """Stands for callbacks of the chief on every worker.

    Args:
        chief: runs them.
        group: what the chief has said about them.
        members: they themselves, on the chief; nothing elsewhere.
    """

    def __init__(
        self, chief: Chief, group: dict[str, Json], members: Sequence[keras.callbacks.Callback]
    ) -> None:
        super().__init__()
        self.names = ", ".join(group["names"])
        self.wishes = [Wish(**wish) for wish in group["wishes"]]
        self._hooks = set(group["hooks"])
        self._chief = chief
        self.members = members

    def set_model(self, model: keras.Model) -> None:
        """Gives the members their model."""
        super().set_model(model)
        for member in self.members:
            member.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Gives the members what Keras says about the loop."""
        super().set_params(params)
        for member in self.members:
            member.set_params(params)

    def run(self, hook: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Runs a hook of the members, if one of them has it."""
        if hook not in self._hooks:
            return

        def run_members() -> None:
            for member in self.members:
                getattr(member, hook)(*args, **kwargs)

        logs = kwargs.get("logs", args[-1] if args and isinstance(args[-1], dict) else None)
        self._chief.run_hook(self.names, run_members, logs)


def members_of(
    arranged: Sequence[keras.callbacks.Callback],
) -> list[keras.callbacks.Callback]:
    """The user's callbacks of this worker: first those that every worker has, in one order."""
    flat: list[keras.callbacks.Callback] = []
    for callback in arranged:
        flat.extend(callback.members if isinstance(callback, OnChief) else [callback])
    return sorted(flat, key=lambda callback: not runs_everywhere(callback))


def _forwarding(hook: str) -> Callable[..., None]:
    def forwarded(self: OnChief, *args: Foreign, **kwargs: Foreign) -> None:
        self.run(hook, args, kwargs)

    return forwarded


for _hook in HOOKS:
    setattr(OnChief, _hook, _forwarding(_hook))
