"""Where a scene is played: one worker of a cluster, with a folder that all workers share."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import tfscale
from tests.jobs.scenes.examples import GLOBAL_BATCH


@dataclass(frozen=True)
class Stage:
    """One worker as a scene sees it.

    Args:
        name: of the scene.
        out: folder of this shape, the same for all its workers.
        cluster: who the workers are; differs in its index only.
        devices: logical CPU devices of each worker; 0 for the real ones.
        collectives: as of `tfscale.Config`.
    """

    name: str
    out: Path
    cluster: tfscale.Cluster
    devices: int
    collectives: str = "auto"

    def train(self, data, build, *, at_end=None, callbacks=(), **settings):
        """Trains on all workers of the stage.

        Args:
            data: a dataset object.
            build: makes the model.
            at_end: gives what else is to be known of the trained model; called on every worker.
            callbacks: of the scene's own.
            settings: of `tfscale.Config`, where they aren't what most scenes have.

        Returns:
            The logs of "batches" and "epochs", the "report", the "weights", and what `at_end` gave.
        """
        log = _log(at_end)
        model = SimpleNamespace(build=build, callbacks=lambda: [log, *callbacks])
        settings = {"batch_size": GLOBAL_BATCH, "steps_per_execution": 1, **settings}
        settings = {"collectives": self.collectives, **settings}
        config = tfscale.Config(
            run_dir=str(self.out / self.name), devices=self.devices, overwrite=True, **settings
        )
        report = tfscale.train(config, self.cluster, data, model)
        return {"batches": log.batches, "epochs": log.epochs, "report": report, **log.end}


def _log(at_end):
    """A callback that keeps the logs of every call and what the trained model gives."""
    import keras

    class Log(keras.callbacks.Callback):
        everywhere = True
        every_batch = False

        def __init__(self):
            super().__init__()
            self.batches, self.epochs, self.end = [], [], {}

        def on_train_batch_end(self, batch, logs=None):
            self.batches.append(dict(logs))

        def on_epoch_end(self, epoch, logs=None):
            self.epochs.append(dict(logs))

        def on_train_end(self, logs=None):
            self.end["weights"] = self.model.get_weights()
            if at_end is not None:
                self.end |= at_end(self.model)

    return Log()
