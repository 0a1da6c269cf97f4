import hashlib
import json
import zipfile

import keras
import numpy as np
import pytest

from tfscale.checkpoints.export import model_bytes, save, save_arrays, told, weights_sha256
from tfscale.checkpoints.savability import WEIGHTS, WHOLE, SavingWay, find_saving_way
from tfscale.cluster.cluster import Cluster
from tfscale.files.run_directory import RunDirectory
from tfscale.model.optimizers import LARS

TWO = ("node0:1111", "node1:1111")


def _model(optimizer=None, units=2, dtype=None):
    """A model whose weights are 4 x units numbers of `dtype`."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, dtype=dtype)])
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _save(model, directory):
    """As a run does; gives the path of what was saved."""
    saved = save(model, directory, find_saving_way(model))
    if saved.problem is not None:
        raise saved.problem
    return directory.path / saved.file


def _directory(path, index=0):
    return RunDirectory(str(path), Cluster(TWO, index))


def _config_in(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def _names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_the_chief_saves_a_model_that_predicts_the_same(tmp_path):
    model = _model(keras.optimizers.SGD(0.1, momentum=0.9))
    path = _save(model, _directory(tmp_path))
    assert path == tmp_path / "model.keras"
    assert _names(tmp_path) == ["model.keras"]
    x = np.ones((4, 3), np.float32)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert type(loaded.optimizer) is keras.optimizers.SGD


def test_the_weights_of_a_start_that_failed_go_when_there_is_a_model(tmp_path):
    save_arrays(tmp_path / "model.weights.npz", [np.ones(3)])
    _save(_model(), _directory(tmp_path))
    assert _names(tmp_path) == ["model.keras"]


def test_every_worker_saves_and_only_the_chief_keeps_its_file(tmp_path, monkeypatch):
    model, saved = _model(), []
    original = model.save
    monkeypatch.setattr(model, "save", lambda path: saved.append(path) or original(path))
    directory = _directory(tmp_path, index=1)
    assert _save(model, directory) == tmp_path / "model.keras"
    assert len(saved) == 1, "reading a variable may be a collective, so that all must take part"
    assert not saved[0].exists()
    assert _names(tmp_path) == []


@pytest.mark.parametrize("num_bytes", [0, 100, 5_000, 100_000])
def test_a_disk_that_is_full_everywhere_leaves_nothing_half_written(
    tmp_path, lasting, num_bytes, files_of_at_most
):
    run = tmp_path / "run"
    run.mkdir()
    with files_of_at_most(num_bytes):
        saved = save(_model(units=30_000), _directory(run), SavingWay(WHOLE))
    assert saved.path is None
    assert "model.keras can't be written (File too large); expected room" in str(saved.problem)
    assert _names(run) == list(lasting.glob("tfscale-*")) == []


def test_where_model_keras_has_no_room_its_weights_may(tmp_path, lasting, files_of_at_most):
    model = _model(keras.optimizers.Adam(0.1), units=30_000)
    with files_of_at_most(model_bytes(_model(units=30_000)) + 50_000):
        saved = save(model, _directory(tmp_path), SavingWay(WHOLE))
    assert saved.file == "model.weights.npz"
    assert _names(tmp_path) == ["model.weights.npz"]
    assert not list(lasting.glob("tfscale-*"))


def test_a_model_whose_folder_was_removed_is_in_one_made_again(tmp_path, lasting):
    directory = _directory(tmp_path / "run")
    path = _save(_model(), directory)
    assert (path, directory.problem) == (tmp_path / "run" / "model.keras", None)
    assert keras.saving.load_model(path).compiled
    assert _names(lasting) == []


def test_a_model_whose_folder_cannot_be_had_again_goes_elsewhere_and_it_is_said(tmp_path, lasting):
    (tmp_path / "run").write_text("a file in its place")
    directory = _directory(tmp_path / "run")
    saved = save(_model(), directory, SavingWay(WHOLE))
    directory.write_report({"steps": 1})
    (folder,) = lasting.iterdir()
    assert saved.path == folder / "model.keras"
    assert _names(folder) == ["model.keras", "report.json"]
    assert folder.stat().st_mode & 0o777 == 0o700
    reason = str(told(saved, directory, "python load_it.py"))
    assert f"--run_dir={tmp_path}/run can't be written to (File exists)" in reason
    assert f"this run's model.keras, report.json went to {folder}" in reason
    assert reason.endswith("To load the model: python load_it.py")
    assert "\n" not in reason


def test_the_other_workers_leave_what_is_wrong_to_the_chief_to_say(tmp_path, monkeypatch):
    model = _model()
    monkeypatch.setattr(model, "save", lambda path: path.joinpath("no", "folder").write_text(""))
    saved = save(model, _directory(tmp_path, index=1), SavingWay(WHOLE))
    assert saved.problem is None
    assert told(saved, _directory(tmp_path, index=1), "") is None


def test_nothing_is_said_where_all_is_as_it_was_asked_for(tmp_path):
    directory = _directory(tmp_path)
    saved = save(_model(), directory, SavingWay(WHOLE))
    directory.write_report({"steps": 1})
    assert told(saved, directory, "python load_it.py") is None


def test_a_newer_model_takes_the_place_of_the_old_one_at_once(tmp_path):
    for _ in range(2):
        model = _model()
        _save(model, _directory(tmp_path))
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "model.keras").get_weights()[0], model.get_weights()[0]
    )


@pytest.mark.parametrize(
    "optimizer", [lambda: LARS(0.1), lambda: keras.optimizers.LossScaleOptimizer(LARS(0.1))]
)
def test_an_optimizer_that_plain_keras_does_not_know_stays_out_of_the_file(tmp_path, optimizer):
    path = _save(_model(optimizer()), _directory(tmp_path))
    assert "tfscale" not in json.dumps(_config_in(path))
    assert not keras.saving.load_model(path).compiled


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Lamb"])
def test_an_optimizer_of_keras_comes_along(tmp_path, name):
    path = _save(_model(getattr(keras.optimizers, name)()), _directory(tmp_path))
    assert type(keras.saving.load_model(path).optimizer).__name__ == name


def test_the_hash_is_that_of_all_weights_in_order():
    model = _model()
    model.set_weights([np.arange(6.0).reshape(3, 2), np.array([6.0, 7.0])])
    expected = hashlib.sha256(np.arange(8, dtype="<f4").tobytes()).hexdigest()
    assert weights_sha256(model) == expected


def test_the_hash_of_weights_differs_by_the_last_bit_of_one():
    model = _model()
    before = weights_sha256(model)
    assert weights_sha256(model) == before
    kernel, bias = model.get_weights()
    kernel[2, 1] = np.nextafter(kernel[2, 1], np.float32(9))
    model.set_weights([kernel, bias])
    assert weights_sha256(model) != before


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2), ("bfloat16", 2)])
def test_a_model_weighs_as_much_as_its_weights(dtype, size):
    # What SGD has beside them (its rate, its number of steps) is the same for both.
    added = model_bytes(_model(units=1002, dtype=dtype)) - model_bytes(_model(units=2, dtype=dtype))
    assert added == 4 * 1000 * size


def test_a_model_weighs_its_optimizer_too():
    plain, adam = _model(), _model(keras.optimizers.Adam(0.1))
    assert model_bytes(adam) - model_bytes(plain) == 2 * 4 * (4 * 2)


def test_the_file_is_about_as_large_as_foretold(tmp_path):
    model = _model(keras.optimizers.Adam(0.1), units=30_000)
    size = _save(model, _directory(tmp_path)).stat().st_size
    assert model_bytes(model) <= size <= model_bytes(model) + 100_000


class _Odd(keras.layers.Layer):
    """A layer that trains, and fails when it is saved."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return x * self.scale

    def save_own_variables(self, store):
        raise KeyError("no place for it")


def test_weights_stay_where_a_layer_fails_while_it_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((3,)), _Odd(), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    saved = save(model, _directory(tmp_path), SavingWay(WHOLE))
    assert saved.file == "model.weights.npz"
    assert "model.keras can't be written (KeyError" in str(saved.problem)
    assert _names(tmp_path) == ["model.weights.npz"]
    with np.load(tmp_path / "model.weights.npz") as arrays:
        kept = [arrays[str(number)] for number in range(3)]
    for found, expected in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_only_weights_are_saved_where_the_configuration_cannot_be(tmp_path):
    model = _model()
    saved = save(model, _directory(tmp_path), SavingWay(WEIGHTS, "layer 'gate' has no get_config"))
    assert (saved.file, saved.problem) == ("model.weights.h5", None)
    other = _model()
    other.load_weights(tmp_path / "model.weights.h5")
    assert weights_sha256(other) == weights_sha256(model)


def test_floats_that_numpy_does_not_know_are_kept_as_larger_ones(tmp_path):
    weight = keras.ops.convert_to_numpy(keras.ops.ones((2,), "bfloat16"))
    save_arrays(tmp_path / "a.npz", [weight])
    with np.load(tmp_path / "a.npz") as arrays:
        assert (arrays["0"].dtype, arrays["0"].tolist()) == (np.float32, [1.0, 1.0])
