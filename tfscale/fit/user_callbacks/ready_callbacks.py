"""The user's callbacks, found to be ready for a run before its first step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from tfscale.fit.callbacks.chief_callbacks import members_of
from tfscale.fit.prepare_job import Prepared
from tfscale.fit.user_callbacks.monitored_figures import FirstEpoch, figures_of, watched
from tfscale.fit.user_callbacks.requirements import require_needs, require_places
from tfscale.model.model_facts import callback_facts
from tfscale.model.user_callbacks import own_callbacks, require_settable_rate
from tfscale.process.terminal import silence
from tfscale.startup.agreement import SAME_FILES, require_same
from tfscale.startup.job import Job


@dataclass(frozen=True)
class ReadyCallbacks:
    """What the user's file asks for.

    Args:
        given: as the file gives them.
        arranged: for Keras on this worker, in the chief's order.
        last: sees what they have put into the logs; comes after them.
    """

    given: Sequence[keras.callbacks.Callback]
    arranged: Sequence[keras.callbacks.Callback]
    last: FirstEpoch

    @property
    def members(self) -> list[keras.callbacks.Callback]:
        """Those that run on this worker: first the ones that every worker has, in one order."""
        return members_of(self.arranged)

    @property
    def end_by_themselves(self) -> bool:
        """Whether one of them ends a training whose loss isn't finite."""
        return any(isinstance(one, keras.callbacks.TerminateOnNaN) for one in self.members)


def ready_callbacks(
    job: Job, prepared: Prepared, scored: Sequence[str], *, is_rehearsal: bool = False
) -> ReadyCallbacks:
    """The user's callbacks, the same ones on every worker and none that is bound to fail.

    Args:
        job: whose workers train.
        prepared: what trains.
        scored: names of figures of whole splits.
        is_rehearsal: whether this worker stands for the chief, too.

    Raises:
        ConfigError: they differ, or one of them would fail.
    """
    file, model, is_chief = prepared.model_file, prepared.model, job.cluster.is_chief
    callbacks = own_callbacks(file)
    require_settable_rate(callbacks, model, prepared.rate, file.name)
    require_same(job.board, "callbacks of the file", callback_facts(callbacks), SAME_FILES)
    require_needs(callbacks, model, file.name)
    if is_chief:
        require_places(callbacks, Path(job.config.run_dir), file.name)
    figures = figures_of(prepared, scored, has_all_callbacks=is_chief or is_rehearsal)
    found = watched(callbacks, figures, model, file.name)
    arranged = callbacks if is_rehearsal else prepared.distributed.chief.arrange(callbacks)
    last = FirstEpoch(found, job.terminal.complain if is_chief else silence)
    return ReadyCallbacks(callbacks, arranged, last)
