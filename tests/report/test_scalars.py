from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.report.boundaries import boundary_of, distributed_with
from tests.report.points import points_of
from tfscale.fit.loop.events import EpochEnd
from tfscale.report.curve_files import CurveFiles, cut_back_callbacks
from tfscale.report.run_times import block_of
from tfscale.report.scalars import Scalars
from tfscale.report.step_times import StepTimes


def _scalars(folder, optimizer=None, **settings):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.SGD(0.25), "mse")
    return Scalars(
        distributed_with(model),
        CurveFiles(folder) if folder else None,
        global_batch=32,
        text="| setting |",
        **{"least_seconds": 0, **settings},
    )


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
    scalars = _scalars(folder, **settings)
    scalars.begin(None, None)
    for boundary in boundaries:
        scalars.at_boundary(replace(boundary, logs=logs or {}))
    scalars.at_epoch_end(EpochEnd(0, boundaries[-1].step, epoch_logs or {}))
    scalars.end()


def test_every_boundary_is_a_point_at_its_step(tmp_path):
    first, second = boundary_of(step=1, steps=1, is_warm=False), boundary_of(step=11)
    _written(tmp_path, first, second, logs={"loss": 0.5})
    curves, _ = _curves(tmp_path / "train")
    assert curves["loss"] == {1: 0.5, 11: 0.5}
    assert curves["learning_rate"] == {1: 0.25, 11: 0.25}


def test_boundaries_in_a_row_are_left_out_but_for_the_last_of_an_epoch(tmp_path):
    first = boundary_of(step=1, steps=1, is_warm=False)
    rest = [boundary_of(step=step) for step in (11, 21, 31)]
    _written(tmp_path, first, *rest, logs={"loss": 0.5}, least_seconds=1000)
    curves, _ = _curves(tmp_path / "train")
    assert set(curves["loss"]) == {1, 31} and set(curves["step_seconds"]) == {31}


def test_rates_are_those_of_the_slowest_worker(tmp_path):
    _written(tmp_path, boundary_of(step=11))
    curves, _ = _curves(tmp_path / "train")
    assert curves["step_seconds"][11] == pytest.approx(0.4)
    assert curves["examples_per_second"][11] == pytest.approx(32 / 0.4)
    # The same as in the report, which has a boundary like this one alone.
    times = StepTimes()
    times.add(block_of(boundary_of(step=11)))
    assert curves["input_wait_share"][11] == pytest.approx(1.25 / 4)
    assert curves["input_wait_share"][11] == pytest.approx(times.input_wait_share)
    assert curves["exposed_communication_share"][11] == pytest.approx(0.5 / 4)
    assert curves["exposed_communication_share"][11] == pytest.approx(times.exposed_share)
    assert curves["bus_bandwidth_gb_per_second"][11] == pytest.approx(0.3 / 0.2)
    assert "scaling_efficiency" not in curves


def test_efficiency_is_against_a_replica_alone(tmp_path):
    _written(tmp_path, boundary_of(step=11), alone_seconds=0.3)
    assert _curves(tmp_path / "train")[0]["scaling_efficiency"][11] == pytest.approx(0.75)


def test_a_loop_that_includes_tracing_has_no_rate(tmp_path):
    _written(tmp_path, boundary_of(is_warm=False), logs={"loss": 0.5})
    curves, _ = _curves(tmp_path / "train")
    assert set(curves) == {"loss", "learning_rate"}


def test_every_worker_has_curves_of_its_own(tmp_path):
    _written(tmp_path, boundary_of(step=11))
    assert _curves(tmp_path / "workers" / "worker-0")[0] == {"load": {11: 50}, "memory": {11: 100}}
    assert _curves(tmp_path / "workers" / "worker-1")[0] == {"load": {11: 60}, "memory": {11: 200}}


def test_validation_has_the_names_and_the_steps_of_training(tmp_path):
    logs = {"loss": 0.5, "val_loss": 0.75, "val_accuracy": 0.25}
    _written(tmp_path, boundary_of(step=11), epoch_logs=logs)
    curves, _ = _curves(tmp_path / "validation")
    assert curves == {"loss": {11: 0.75}, "accuracy": {11: 0.25}}


def test_a_metric_of_many_numbers_has_no_curve(tmp_path):
    _written(tmp_path, boundary_of(), logs={"loss": 0.5, "per_class": np.zeros(3)})
    assert "per_class" not in _curves(tmp_path / "train")[0]


def test_the_configuration_is_there_to_read(tmp_path):
    _written(tmp_path, boundary_of())
    assert _curves(tmp_path / "train")[1]["config"][0] == b"| setting |"


def test_a_worker_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _written(None, boundary_of(), logs={"loss": 0.5}, epoch_logs={"val_loss": 0.75})
    assert list(tmp_path.iterdir()) == []


# A run that goes on.


def _train(scalars, steps, *, validated=()):
    for step in steps:
        scalars.at_boundary(replace(boundary_of(step=step), logs={"loss": 0.5}))
        if step in validated:
            scalars.at_epoch_end(EpochEnd(0, step, {"val_loss": 0.25}))


@pytest.mark.parametrize("half", [0, 5])
def test_after_a_kill_each_step_is_there_once(tmp_path, half):
    killed = _scalars(tmp_path)
    killed.begin(None, None)
    _train(killed, (10, 20, 30), validated=(20,))
    state = killed.get_state()
    assert points_of(tmp_path)["train", "loss"] == [10, 20, 30]  # it is on disk
    _train(killed, (40,), validated=(40,))
    _train(killed, (50,))
    killed._files.flush()
    for path in tmp_path.rglob("*.tfevents.*"):
        path.write_bytes(path.read_bytes()[: -half or None])  # as a kill leaves it
    resumed = _scalars(tmp_path)
    resumed.begin(None, None)
    resumed.set_state(state)
    _train(resumed, (40, 50, 60), validated=(40, 60))
    resumed.end()
    points = points_of(tmp_path)
    assert points["train", "loss"] == [10, 20, 30, 40, 50, 60]
    assert points["validation", "loss"] == [20, 40, 60]
    assert all(sorted(set(steps)) == steps for steps in points.values())
    _, texts = _curves(tmp_path / "train")
    assert texts["config"][0] == b"| setting |"


def test_a_run_that_left_no_checkpoint_begins_its_curves_anew(tmp_path):
    killed = _scalars(tmp_path)
    _train(killed, (10, 20), validated=(20,))
    killed.end()
    files = CurveFiles(tmp_path)
    files.cut_back({})
    assert points_of(tmp_path) == {}


def test_a_look_back_takes_no_points_away(tmp_path):
    scalars = _scalars(tmp_path)
    _train(scalars, (10,))
    state = scalars.get_state()
    _train(scalars, (20,))
    scalars.set_state(state)
    _train(scalars, (30,))
    scalars.end()
    assert points_of(tmp_path)["train", "loss"] == [10, 20, 30]


def test_keras_own_curves_are_cut_back_too(tmp_path):
    for run, tags in (("train", ("epoch_loss", "batch_loss")), ("validation", ("epoch_loss",))):
        with tf.summary.create_file_writer(str(tmp_path / run)).as_default():
            for step in range(4):
                for tag in tags:
                    tf.summary.scalar(tag, 0.5, step=step)
    cut_back_callbacks([keras.callbacks.TensorBoard(tmp_path)], epoch=2, step=2)
    points = points_of(tmp_path)
    assert points["train", "epoch_loss"] == points["validation", "epoch_loss"] == [1]  # and 0
    assert points["train", "batch_loss"] == [1, 2]


def test_what_others_write_beside_our_curves_stays(tmp_path):
    killed = _scalars(tmp_path)
    _train(killed, (10,))
    killed.end()
    with tf.summary.create_file_writer(str(tmp_path / "mine")).as_default():
        tf.summary.scalar("norm", 0.5, step=7)
    CurveFiles(tmp_path).cut_back({})
    assert points_of(tmp_path) == {("mine", "norm"): [7]}
