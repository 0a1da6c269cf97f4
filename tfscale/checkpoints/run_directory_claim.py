"""The run directory becomes this run's: as a new one, or as that of the run that goes on."""

import contextlib
from collections.abc import Mapping

from tfscale.checkpoints import export
from tfscale.checkpoints.resume import Earlier, differences
from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.files.checkpoint_names import FOLDER
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.prepare_job import Prepared
from tfscale.startup.job import Job
from tfscale.structures import Json


def claim_run_directory(
    job: Job, prepared: Prepared, earlier: Earlier, settings: Mapping[str, Json]
) -> RunDirectory:
    """Makes the run directory this run's, or refuses on every worker with the chief's reason.

    Args:
        job: whose chief writes there.
        prepared: what is going to train.
        earlier: what this run resumes from.
        settings: the content of `config.json`.

    Raises:
        ConfigError: it can't be had.
    """
    directory = RunDirectory(job.config.run_dir, job.cluster, job.terminal.complain)
    reason = ""
    if job.cluster.is_chief:
        reason = _reason(job, prepared, directory, earlier, settings)
    reason = job.board.broadcast("claim", reason or "granted")
    if reason != "granted":
        raise ConfigError(reason)
    with contextlib.suppress(OSError):
        directory.make_again()  # of this user alone, also where nodes don't share it
    job.terminal.file_log(directory.log)
    directory.write_settings(settings)
    return directory


def _reason(
    job: Job,
    prepared: Prepared,
    directory: RunDirectory,
    earlier: Earlier,
    settings: Mapping[str, Json],
) -> str:
    """Why it can't be had, in one line; empty if it can."""
    overwrite, was_begun = job.config.overwrite, (directory.path / "config.json").exists()
    # One that has left no checkpoint is resumed from its beginning.
    is_over = directory.has_finished_run
    goes_on = was_begun and not overwrite and (earlier.is_there or not is_over)
    if goes_on:
        if reason := _other_run(directory, settings, is_over=is_over):
            return reason
        if reason := _other_data(prepared, earlier):
            return reason
    needed = export.model_bytes(prepared.model) * (1 + job.config.keep_checkpoints)
    reason = directory.claim(overwrite=overwrite, needed_bytes=needed, goes_on=goes_on)
    if not reason:
        # A kill inside a save leaves as much as a checkpoint has.
        atomic.remove_unfinished(directory.path / FOLDER)
    return reason


def _other_run(directory: RunDirectory, settings: Mapping[str, Json], *, is_over: bool) -> str:
    """Why the run there isn't this one."""
    others = differences(directory.path, settings)
    if not others:
        return ""
    return (
        f"--run_dir={directory.path} holds a run that {'has ended' if is_over else 'was stopped'}, "
        f"which was asked for something else ({'; '.join(others)}); expected the same, to go on "
        "with it. Use the same flags, another --run_dir, or --overwrite to start over."
    )


def _other_data(prepared: Prepared, earlier: Earlier) -> str:
    """Why the place in the data, at which the checkpoint was written, isn't there any more."""
    if earlier.checkpoint is None:
        return ""
    before, now = earlier.checkpoint.facts["data_checksum"], prepared.data.training.checksum
    if before == now:
        return ""
    return (
        "The records of load('train'), or their order, are others than those that "
        f"{earlier.checkpoint.path} was written with; expected the same, at whose step "
        f"{earlier.step} the run resumes. Use the same data, or --overwrite to start over."
    )
