from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfscale.fit.boundary import Boundary
from tfscale.gradients.reducer import Traffic
from tfscale.model.scratch import write_to_scratch
from tfscale.report import pace as pace_module
from tfscale.report.first_step import FirstStep
from tfscale.report.pace import Pace
from tfscale.report.scalars import Scalars


def _boundary(step=10, steps=10, seconds=(2.0, 4.0), waited=(0.5, 2.0), is_warm=True):
    """Two workers, each with a figure for the load and one for the memory."""
    figures = np.array([[50.0, 100.0], [60.0, 200.0]])
    return Boundary(
        step,
        steps,
        seconds=np.array(seconds),
        input_wait_seconds=np.array(waited),
        exposed_seconds=np.array([0.5, 0.5]),
        travel_seconds=np.array([1.0, 3.0]),
        figures=figures,
        is_warm=is_warm,
    )


def _distributed(boundary=None, step=0):
    return SimpleNamespace(boundary=boundary, step=step, traffic=Traffic(sent_bytes=3e8))


# The first step.


def test_the_end_of_the_start_is_told_once():
    told = []
    first = FirstStep(lambda: told.append("started"))
    assert told == []
    for batch in (0, 1, 2):
        first.on_train_batch_end(batch, {"loss": 1.0})
    assert told == ["started"]


# The pace.


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pace_module.time, "perf_counter", lambda: clock.now)
    return clock


def test_a_step_takes_as_long_as_on_the_slowest_worker(clock):
    distributed = _distributed()
    pace = Pace(distributed)
    for boundary in (_boundary(seconds=(60.0, 60.0)), _boundary()):
        distributed.boundary = boundary
        pace.on_train_batch_end(0)
    assert pace.times.num_steps == 10
    assert pace.times.step_seconds_median == pytest.approx(0.4)
    # Half a second on one worker and two on the other, of the four that all waited for.
    assert pace.times.input_wait_share == pytest.approx(1.25 / 4)
    assert pace.times.exposed_share == pytest.approx(0.5 / 4)
    assert pace.times.travel_seconds == pytest.approx(2.0 / 10)


def test_the_first_step_is_timed_once(clock):
    pace = Pace(_distributed(_boundary()))
    assert pace.seconds_to_first_step is None
    clock.now = 107.0
    pace.on_train_batch_end(0)
    clock.now = 120.0
    pace.on_train_batch_end(1)
    assert pace.seconds_to_first_step == 7.0


def test_the_times_of_evaluations_add_up(clock):
    pace = Pace(_distributed())
    for seconds in (3.0, 4.0):
        pace.on_test_begin()
        clock.now += seconds
        pace.on_test_end()
        clock.now += 100.0  # of training, which does not count
    assert pace.evaluate_seconds == 7.0


def test_without_a_boundary_there_is_no_block(clock):
    pace = Pace(_distributed())
    pace.on_train_batch_end(0)
    assert pace.times.num_steps == 0


# The curves.


def _scalars(distributed, folder, **settings):
    scalars = Scalars(
        distributed,
        folder,
        global_batch=32,
        figure_names=["load", "memory"],
        text="| setting |",
        **settings,
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), "mse")
    scalars.set_model(model)
    return scalars


def _curves(folder):
    """Every point as {curve: {step: value}}, and the texts."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    curves, texts = {}, {}
    for name in events.Tags()["tensors"]:
        for event in events.Tensors(name):
            value = tf.make_ndarray(event.tensor_proto)
            is_text = value.dtype == object
            (texts if is_text else curves).setdefault(name, {})[event.step] = value.ravel()[0]
    return curves, texts


def _written(folder, *boundaries, logs=None, epoch_logs=None, **settings):
    distributed = _distributed()
    scalars = _scalars(distributed, folder, **settings)
    scalars.on_train_begin()
    for boundary in boundaries:
        distributed.boundary, distributed.step = boundary, boundary.step
        scalars.on_train_batch_end(boundary.step - 1, logs)
    scalars.on_epoch_end(0, epoch_logs)
    scalars.on_train_end()


def test_every_boundary_is_a_point_at_its_step(tmp_path):
    first, second = _boundary(step=1, steps=1, is_warm=False), _boundary(step=11)
    _written(tmp_path, first, second, logs={"loss": 0.5})
    curves, _ = _curves(tmp_path / "train")
    assert curves["loss"] == {1: 0.5, 11: 0.5}
    assert curves["learning_rate"] == {1: 0.25, 11: 0.25}


def test_rates_are_those_of_the_slowest_worker(tmp_path):
    _written(tmp_path, _boundary(step=11))
    curves, _ = _curves(tmp_path / "train")
    assert curves["step_seconds"][11] == pytest.approx(0.4)
    assert curves["examples_per_second"][11] == pytest.approx(32 / 0.4)
    assert curves["input_wait_share"][11] == pytest.approx((0.25 + 0.5) / 2)
    assert curves["exposed_communication_share"][11] == pytest.approx((0.25 + 0.125) / 2)
    assert curves["bus_bandwidth_gb_per_second"][11] == pytest.approx(0.3 / 0.2)
    assert "scaling_efficiency" not in curves


def test_efficiency_is_against_a_replica_alone(tmp_path):
    _written(tmp_path, _boundary(step=11), alone_seconds=0.3)
    assert _curves(tmp_path / "train")[0]["scaling_efficiency"][11] == pytest.approx(0.75)


def test_a_loop_that_includes_tracing_has_no_rate(tmp_path):
    _written(tmp_path, _boundary(is_warm=False), logs={"loss": 0.5})
    curves, _ = _curves(tmp_path / "train")
    assert set(curves) == {"loss", "learning_rate"}


def test_every_worker_has_curves_of_its_own(tmp_path):
    _written(tmp_path, _boundary(step=11))
    assert _curves(tmp_path / "workers" / "worker-0")[0] == {"load": {11: 50}, "memory": {11: 100}}
    assert _curves(tmp_path / "workers" / "worker-1")[0] == {"load": {11: 60}, "memory": {11: 200}}


def test_validation_has_the_names_and_the_steps_of_training(tmp_path):
    logs = {"loss": 0.5, "val_loss": 0.75, "val_accuracy": 0.25}
    _written(tmp_path, _boundary(step=11), epoch_logs=logs)
    curves, _ = _curves(tmp_path / "validation")
    assert curves == {"loss": {11: 0.75}, "accuracy": {11: 0.25}}


def test_a_metric_of_many_numbers_has_no_curve(tmp_path):
    _written(tmp_path, _boundary(), logs={"loss": 0.5, "per_class": np.zeros(3)})
    assert "per_class" not in _curves(tmp_path / "train")[0]


def test_the_configuration_is_there_to_read(tmp_path):
    _written(tmp_path)
    assert _curves(tmp_path / "train")[1]["config"][0] == b"| setting |"


def test_a_worker_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _written(None, _boundary(), logs={"loss": 0.5}, epoch_logs={"val_loss": 0.75})
    assert list(tmp_path.iterdir()) == []


# The user's own callbacks.


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
