"""Training Keras 3 models with TensorFlow on many devices and many machines.

    import tfscale

    config = tfscale.Config(run_dir="runs/first", batch_size=64, epochs=12)
    report = tfscale.train(
        config, tfscale.Cluster(), "datasets/digits.py", "models/small_cnn.py"
    )

Importing this imports neither TensorFlow nor Keras: what they read once, when they are imported,
has to be right before that.

The packages, in the order of a run: `training` tells its story (`opening` and `ending` are its
first and last chapter, `listener` is what watches it) from what `settings` say; `evaluating` comes
after it. `cluster` says who takes part, `startup` makes a strategy of it, `data` batches, `model` a
compiled model, `gradients` the way from backward to the update, `fit` trains. `report` tells,
`checkpoints` keeps, `health` watches. Below them: `supervise` restarts, `files`, `process`,
`user_files` and `user_paths` (what a user's file is), `errors`, `structures`.
"""

import contextlib
import inspect
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tfscale.cluster.cluster import Cluster
from tfscale.cluster.discovery import resolve
from tfscale.cluster.role import is_chief, take_part
from tfscale.errors import (
    CONFIG_CODE,
    PREEMPTED_CODE,
    ConfigError,
    SharedFailure,
    describe_failure,
)
from tfscale.listener import Listener
from tfscale.process.exit import leave, use_own_temporary_folder
from tfscale.process.gc_pause import paused_until_started
from tfscale.process.terminal import Terminal
from tfscale.settings import Config
from tfscale.startup.environment import check_environment, set_environment
from tfscale.structures import Json
from tfscale.user_paths import local_path

if TYPE_CHECKING:
    from tfscale.evaluating import Evaluated

__all__ = [
    "CONFIG_CODE",
    "PREEMPTED_CODE",
    "Cluster",
    "Config",
    "ConfigError",
    "Listener",
    "SharedFailure",
    "Terminal",
    "describe_failure",
    "evaluate",
    "is_chief",
    "leave",
    "resolve",
    "train",
    "use_own_temporary_folder",
]

_running = threading.Lock()


def train(  # noqa: PLR0913 - the public entry: all but four have defaults
    config: Config,
    cluster: Cluster,
    dataset: object,
    model: object,
    *,
    terminal: Terminal | None = None,
    dry_run: bool = False,
    listeners: Sequence[Listener] = (),
) -> dict[str, Json]:
    """Trains a model; every worker of the cluster calls this with the same arguments.

    Args:
        config: what is asked for.
        cluster: who the workers are and which of them this process is.
        dataset: path of a dataset file, or a module or object with the same attributes.
        model: path of a model file, such a module or object, or a `build` function.
        terminal: where progress and reasons go; nowhere if None.
        dry_run: shows the plan, without waiting for other workers and without a file.
        listeners: are told of the run as it goes, after tfscale's own; the same kinds on every
            worker.

    Returns:
        The content of `report.json`, the same on every worker; empty for a dry run.

    Raises:
        ConfigError: it can't be done as asked, another training of this process goes on, or the
            program that calls this is only imported by a process of multiprocessing. With several
            workers all of them end, with a `SharedFailure` that carries the first reason.
    """
    _require_listeners(listeners)
    shown = terminal or Terminal()
    with _alone():
        if dry_run:
            _rehearse(config, cluster, dataset, model, shown)
            return {}
        return _train(config, cluster, dataset, model, shown, listeners)


def evaluate(  # noqa: PLR0913 - the public entry: two have defaults
    config: Config,
    cluster: Cluster,
    dataset: object,
    model: str,
    split: str,
    *,
    predictions: str = "",
    predicts: bool = False,
    terminal: Terminal | None = None,
) -> "Evaluated":
    """Evaluates a saved model on a split; every worker calls this with the same arguments.

    Args:
        config: the settings of the data, the devices and the cluster count; the others don't.
        cluster: who the workers are and which of them this process is.
        dataset: as of `train`.
        model: path of a file that Keras has saved, or of the folder of a run; on every worker.
        split: of the dataset file, each of whose examples is evaluated once.
        predictions: path of the NPZ file that gets them, on the chief.
        predicts: whether predictions are wanted where no file is.
        terminal: where the result and reasons go; nowhere if None.

    Returns:
        The figures, and the predictions in the order of the examples; the same on every worker.

    Raises:
        ConfigError: as of `train`, or the model can't be loaded.
    """
    with _alone():
        _get_process_ready(cluster, cluster)
        with paused_until_started():
            from tfscale import evaluating
            from tfscale.startup.job import Job

            out = str(local_path(predictions, "--predictions")) if predictions else ""
            wanted = evaluating.Wanted(model, split, out, predicts)
            shown = terminal or Terminal()
            return evaluating.run(lambda: Job.start(config, cluster, shown), dataset, wanted)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """A body of which a process has one at a time."""
    _refuse_while_imported()
    if not _running.acquire(blocking=False):
        raise ConfigError(
            "Another training of this process goes on; expected one at a time, because they would "
            "share random numbers, precision and Keras's loops. Wait for its end, or start a new "
            "process."
        )
    try:
        yield
    finally:
        _running.release()


def _train(
    config: Config,
    cluster: Cluster,
    dataset: object,
    model: object,
    terminal: Terminal,
    listeners: Sequence[Listener],
) -> dict[str, Json]:
    _get_process_ready(cluster, cluster)
    with paused_until_started() as started:
        from tfscale import training

        watching = [training.FirstStep(started), *listeners]
        return training.run(config, cluster, dataset, model, terminal, watching)


def _rehearse(
    config: Config, cluster: Cluster, dataset: object, model: object, terminal: Terminal
) -> None:
    _get_process_ready(cluster, Cluster())
    with paused_until_started():
        from tfscale import training

        training.dry_run(config, cluster, dataset, model, terminal)


def _get_process_ready(cluster: Cluster, starts_as: Cluster) -> None:
    check_environment()
    set_environment(starts_as)
    take_part(cluster)


def _require_listeners(listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        if not isinstance(listener, Listener):
            raise ConfigError(
                f"tfscale.train(listeners=...) has {listener!r}; expected objects of classes that "
                "are derived from tfscale.Listener. A callback of Keras's belongs in the model "
                "file's callbacks()."
            )


def _refuse_while_imported() -> None:
    """Refuses a call at the top level of a program that a process of multiprocessing imports."""
    frame = inspect.currentframe()
    while frame is not None:
        # What multiprocessing calls the program's file when it runs it to have its functions.
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            raise ConfigError(
                f"tfscale was called while {frame.f_code.co_filename} was imported by a "
                "process that it has started; expected a program that does nothing when it is "
                'imported. Put the call below `if __name__ == "__main__":`.'
            )
        frame = frame.f_back
