from pathlib import Path

import keras
import numpy as np
import pytest

from tfscale.model.user_callbacks import runs_everywhere, write_to_scratch


def _own(folder):
    return [
        keras.callbacks.ModelCheckpoint(str(folder / "best.keras")),
        keras.callbacks.CSVLogger(str(folder / "log.csv")),
        keras.callbacks.TensorBoard(str(folder / "curves"), write_graph=False),
    ]


def _fit(callbacks):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4, 1), np.float32)
    model.fit(x, x, epochs=2, verbose=0, callbacks=callbacks)
    return model


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_chief_writes_where_the_user_said(tmp_path):
    callbacks = _own(tmp_path / "mine")
    before = [dict(vars(callback)) for callback in callbacks]
    write_to_scratch(callbacks, None)
    assert [dict(vars(callback)) for callback in callbacks] == before


def test_every_other_worker_writes_below_its_scratch_folder_alone(tmp_path):
    callbacks = _own(tmp_path / "mine")
    write_to_scratch(callbacks, tmp_path / "scratch")
    _fit(callbacks)
    assert not (tmp_path / "mine").exists()
    names = {path.name for path in _files(tmp_path / "scratch")}
    assert {"best.keras", "log.csv"} <= names
    assert any("tfevents" in name for name in names)


def test_two_callbacks_with_one_name_do_not_share_a_file(tmp_path):
    callbacks = [
        keras.callbacks.ModelCheckpoint(str(tmp_path / folder / "best.keras"))
        for folder in ("loss", "accuracy")
    ]
    write_to_scratch(callbacks, tmp_path / "scratch")
    first, second = (Path(callback.filepath) for callback in callbacks)
    assert first != second
    assert first.parent.is_dir() and second.parent.is_dir()


def test_the_placeholders_and_the_ending_of_a_name_stay(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint("mine/{epoch:02d}.weights.h5", save_weights_only=1)
    write_to_scratch([checkpoint], tmp_path)
    assert checkpoint.filepath == str(tmp_path / "0" / "{epoch:02d}.weights.h5")


def test_a_path_stays_a_path(tmp_path):
    callback = keras.callbacks.Callback()
    callback.log_dir = Path("mine/curves")
    write_to_scratch([callback], tmp_path)
    assert callback.log_dir == tmp_path / "0" / "curves"


def test_a_callback_without_a_file_stays_as_it_is(tmp_path):
    stop = keras.callbacks.EarlyStopping(monitor="loss")
    before = dict(vars(stop))
    write_to_scratch([stop], tmp_path / "scratch")
    assert vars(stop) == before
    assert not (tmp_path / "scratch").exists()


def test_every_path_of_the_callbacks_of_keras_is_known(tmp_path):
    # What names a folder of the user in any attribute after the change would be written twice.
    callbacks = _own(tmp_path / "mine")
    write_to_scratch(callbacks, tmp_path / "scratch")
    for callback in callbacks:
        left = [
            name for name, value in vars(callback).items() if str(tmp_path / "mine") in str(value)
        ]
        assert left == [], type(callback).__name__


class _Own(keras.callbacks.Callback):
    pass


class _OwnStopping(keras.callbacks.EarlyStopping):
    pass


@pytest.mark.parametrize(
    ("callback", "everywhere"),
    [
        (_Own(), False),
        (keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), False),
        (keras.callbacks.RemoteMonitor(), False),
        (_OwnStopping(), True),
        (keras.callbacks.EarlyStopping(), True),
        (keras.callbacks.ModelCheckpoint("a.keras"), True),
        (keras.callbacks.CSVLogger("log.csv"), True),
        (keras.callbacks.TensorBoard("board"), True),
        (keras.callbacks.SwapEMAWeights(), True),
        (keras.callbacks.TerminateOnNaN(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_decides_or_saves_runs_everywhere_and_the_users_own_on_the_chief(callback, everywhere):
    assert runs_everywhere(callback) is everywhere


@pytest.mark.parametrize("said", [True, False])
def test_a_callback_may_say_where_it_runs(said):
    for callback in (_Own(), keras.callbacks.EarlyStopping()):
        callback.everywhere = said
        assert runs_everywhere(callback) is said
