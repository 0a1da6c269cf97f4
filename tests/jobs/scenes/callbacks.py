"""Keras's own callbacks, as a model file gives them."""

from tests.jobs.scenes.examples import image_data
from tests.jobs.scenes.networks import convolutions


def decisions(stage):
    """EarlyStopping and ReduceLROnPlateau decide the same everywhere."""
    import keras

    rates = []
    log = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(logs["learning_rate"]))
    )
    log.everywhere = True
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", patience=3, min_delta=0.01),
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.01, factor=0.5),
        log,
    ]
    data = image_data(is_validated=True)
    result = stage.train(data, convolutions(), callbacks=callbacks, epochs=20, steps_per_epoch=3)
    return {**result, "rates": rates}


def files_of_callbacks(stage):
    """K8: Keras's own callbacks write on the chief alone."""
    import keras

    folder = stage.out / "callbacks" / f"worker-{stage.cluster.index}"
    folder.mkdir(parents=True)
    callbacks = [
        keras.callbacks.ModelCheckpoint(str(folder / "best-{epoch}.keras")),
        keras.callbacks.CSVLogger(str(folder / "log.csv")),
        keras.callbacks.TensorBoard(str(folder / "board")),
    ]
    stage.train(image_data(), convolutions(), callbacks=callbacks, steps_per_epoch=3)
    return {"files": sorted(path.name for path in folder.iterdir())}
