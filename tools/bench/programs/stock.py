"""TensorFlow's multi-worker tutorial with a small ResNet: what stock does with the same task."""

import sys
import time

from tfscale.startup import environment as devices
from tfscale.supervise.answers import answering
from tools.bench.programs.task import BATCH, WholeTask


def main(text: str) -> None:
    """Trains, evaluates, and tells how long it took."""
    task = WholeTask.from_json(text)
    answer = answering()
    devices.set_environment(task.cluster)  # TF_CONFIG, before TensorFlow is imported
    import tensorflow as tf
    import tf_keras as keras

    from tools.bench.workloads.small_resnet import SmallResNet

    workers = task.cluster.num_workers
    if workers > 1:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()

    def dataset(split: str) -> tf.data.Dataset:
        images, labels = task.images(split)
        slices = tf.data.Dataset.from_tensor_slices((images, labels))
        if split == "train":
            slices = slices.shuffle(len(labels)).repeat()
        return slices.batch(BATCH * workers, drop_remainder=True)

    with strategy.scope():
        model = SmallResNet().keras_model(keras)
        model.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    first_step = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: times.append(time.time())
    )
    times: list[float] = []
    started = time.time()
    model.fit(
        dataset("train"),
        epochs=task.epochs,
        steps_per_epoch=task.steps,
        validation_data=dataset("validation"),
        callbacks=[first_step],
        verbose=0,
    )
    answer(first_step=times[0], fit_seconds=time.time() - started)


if __name__ == "__main__":
    main(sys.argv[1])
