"""This project with a small ResNet: `tfscale.train`, with all that it does besides training."""

import sys
import time
from types import SimpleNamespace

import tfscale
from tfscale.supervise.answers import answering
from tools.bench.programs.task import BATCH, WholeTask


def main(text: str) -> None:
    """Trains, evaluates, saves, and tells how long it took."""
    task = WholeTask.from_json(text)
    answer = answering()
    config = tfscale.Config(
        run_dir=f"{task.folder}/run",
        batch_size=BATCH * task.cluster.num_workers,
        epochs=task.epochs,
        learning_rate=0.05,
        base_batch_size=256,
    )
    dataset = SimpleNamespace(load=lambda split: _load(task, split), num_classes=10)
    times: list[float] = []
    model = SimpleNamespace(build=_build, callbacks=lambda: [_first_step(times)])
    report = tfscale.train(config, task.cluster, dataset, model)
    seconds = report["seconds"]
    answer(first_step=times[0], fit_seconds=seconds["train"] + seconds["evaluate"])
    tfscale.leave(0)


def _load(task: WholeTask, split: str) -> object:
    import tensorflow as tf

    if split not in ("train", "validation"):
        return None
    return tf.data.Dataset.from_tensor_slices(task.images(split))


def _build() -> object:
    import keras

    from tools.bench.workloads.small_resnet import SmallResNet

    return SmallResNet().keras_model(keras)


def _first_step(times: list[float]) -> object:
    import keras

    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: times.append(time.time())
    )
    callback.everywhere, callback.every_batch = True, False
    return callback


if __name__ == "__main__":
    main(sys.argv[1])
