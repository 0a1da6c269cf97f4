"""The run directory becomes this run's: as a new one, or as that of the run that goes on."""

import contextlib
from collections.abc import Mapping

import keras

from tfscale.checkpoints import commit, export
from tfscale.checkpoints.resume import Earlier, differences
from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.files.run_directory import RunDirectory
from tfscale.startup.job import Job
from tfscale.structures import Json


def claimed(
    job: Job,
    model: keras.Model,
    earlier: Earlier,
    settings: Mapping[str, Json],
    *,
    may_train_longer: bool,
) -> RunDirectory:
    """Makes the run directory this run's, or refuses on every worker with the chief's reason.

    Args:
        job: whose chief writes there.
        model: that is going to be saved.
        earlier: what this run goes on from.
        settings: the content of `config.json`.
        may_train_longer: whether more epochs than before leave those before as they were.

    Raises:
        ConfigError: it can't be had.
    """
    directory = RunDirectory(job.config.run_dir, job.cluster, job.terminal.complain)
    reason = ""
    if job.cluster.is_chief:
        reason = _reason(job, model, directory, earlier, settings, may_train_longer)
    reason = job.board.say("claim", reason or "granted")
    if reason != "granted":
        raise ConfigError(reason)
    with contextlib.suppress(OSError):
        directory.make_again()  # of this user alone, also where nodes don't share it
    job.terminal.file_log(directory.log)
    return directory


def _reason(
    job: Job,
    model: keras.Model,
    directory: RunDirectory,
    earlier: Earlier,
    settings: Mapping[str, Json],
    may_train_longer: bool,
) -> str:
    """Why it can't be had, in one line; empty if it can."""
    overwrite, was_begun = job.config.overwrite, (directory.path / "config.json").exists()
    goes_on = earlier.is_there
    if was_begun and not overwrite and not directory.has_finished_run:
        others = differences(directory.path, settings, may_train_longer=may_train_longer)
        if others:
            return (
                f"--run_dir={directory.path} holds a run that was stopped, which was asked for "
                f"something else ({'; '.join(others)}); expected the same, to go on with it. Use "
                "the same flags, another --run_dir, or --overwrite to begin anew."
            )
        # It has left no checkpoint: there is nothing to lose by beginning anew.
        overwrite = not goes_on
    needed = export.model_bytes(model) * (1 + job.config.keep_checkpoints)
    reason = directory.claim(overwrite=overwrite, needed_bytes=needed, goes_on=goes_on)
    if not reason:
        # A kill inside a save leaves as much as a checkpoint has.
        atomic.remove_unfinished(directory.path / commit.FOLDER)
    return reason
