"""What was trained stays when a callback fails: the weights as the last step left them.

The error of a callback, a user's most often, ends the run on every worker, after days perhaps. All
replicas have the same weights, so that the chief writes its own and asks nobody.
"""

import contextlib

import numpy as np
import tensorflow as tf

from tfscale.checkpoints.export import ARRAYS, save_arrays
from tfscale.errors import ConfigError, describe_failure
from tfscale.files.run_directory import RunDirectory, reason_of
from tfscale.fit.prepare_job import Prepared
from tfscale.model.model_facts import local_value
from tfscale.model.user_callbacks import RATE_FLAGS
from tfscale.startup.job import Job

_CHIEF_FAILS_TOO_SECONDS = 5.0  # a callback that runs everywhere fails everywhere at about once


def keep_weights(
    job: Job, prepared: Prepared, directory: RunDirectory, error: Exception
) -> Exception:
    """Keeps what was trained, and gives the error to raise, which says where it is.

    Args:
        job: whose workers fail, all of them or one.
        prepared: what was training.
        directory: of the run.
        error: what `fit` raised. An error of TensorFlow's is given back as it is: what the replicas
            hold after it is not known to be whole.
    """
    if isinstance(error, tf.errors.OpError) or not prepared.distributed.step:
        return _explained(error)
    told = _write(job, prepared, directory) if directory.is_chief else _await_chief(job)
    explained = _explained(error)
    if not told:
        return explained
    reason, _ = describe_failure(explained)
    kind = type(explained) if isinstance(explained, ConfigError) else RuntimeError
    return kind(f"{reason} {told}")


def _await_chief(job: Job) -> str:
    """Waits for the chief to write: whoever publishes a failure ends it.

    Returns:
        What it says of the weights, so that whoever is first to publish says the same; "" where
        the chief doesn't fail.
    """
    with contextlib.suppress(tf.errors.OpError, RuntimeError):
        job.board.broadcast("rescue begins", "", timeout_seconds=_CHIEF_FAILS_TOO_SECONDS)
        return job.board.broadcast("rescue ends", "")
    return ""


def _write(job: Job, prepared: Prepared, directory: RunDirectory) -> str:
    """Writes the weights of this worker, the chief, and says where they are."""
    with contextlib.suppress(tf.errors.OpError, RuntimeError):
        job.board.broadcast("rescue begins", "yes")
    try:
        weights = [local_value(one, job.strategy) for one in prepared.model.weights]
        arrays = [np.asarray(weight) for weight in weights]
        target = directory.write(ARRAYS, lambda path: save_arrays(path, arrays))
        told = f"The weights after step {prepared.distributed.step} are in {target}: numpy.load it "
        told += "and give its arrays to model.set_weights in their order."
    except OSError as failure:
        told = f"The weights couldn't be kept ({reason_of(failure)})."
    with contextlib.suppress(tf.errors.OpError, RuntimeError):
        job.board.broadcast("rescue ends", told)
    return told


def _explained(error: Exception) -> Exception:
    """The same, with the flags that help where Keras names none."""
    if isinstance(error, TypeError) and "its learning rate is not settable" in str(error):
        return ConfigError(
            "A callback sets the learning rate, which a schedule has; expected one of them. Add "
            f"{RATE_FLAGS}, or compile the model with a number as its learning rate."
        )
    if isinstance(error, KeyError) and "Failed to format this callback filepath" in str(error):
        missing = str(error.args[0]).rpartition("Reason: ")[2]  # the path is each worker's own
        return ConfigError(
            f"A checkpoint's path names {missing}, which isn't in the logs; expected what is there "
            "when it saves. Name something else, or list first the callback that adds it."
        )
    return error
