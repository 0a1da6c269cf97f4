import keras
import numpy as np
import pytest

from tfscale.errors import ConfigError
from tfscale.fit.user_callbacks.monitored_figures import Figures, FirstEpoch, Watched, watched
from tfscale.fit.user_callbacks.requirements import require_needs, require_places

Early, Best = keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint
TRAIN = {"loss": 0.0, "accuracy": 0.0, "each": np.zeros(3)}
FIGURES = Figures(TRAIN, TRAIN | {f"val_{name}": TRAIN[name] for name in TRAIN}, is_validated=True)


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["accuracy"])
    x = np.ones((4, 3), np.float32)
    model.fit(x, np.ones((4, 2)), verbose=0)
    return model


class Adds(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs["val_f1"] = 0.5


class AddsToBatches(keras.callbacks.Callback):
    def on_batch_end(self, batch, logs=None):
        logs["f1"] = 0.5


class AddsItsOwn(Early):
    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, {**logs, "val_f1": 0.5})


class Renamed(Early):
    """Nothing of its own."""


def _check(model, *callbacks, figures=FIGURES):
    return watched(callbacks, figures, model, "mine.py")


def _refused(model, *callbacks, figures=FIGURES):
    with pytest.raises(ConfigError) as caught:
        _check(model, *callbacks, figures=figures)
    return str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Early("val_acc"),
        lambda: Renamed("val_acc", mode="max"),
        lambda: keras.callbacks.ReduceLROnPlateau("val_acc", mode="max"),
        lambda: Best("a.keras", "val_acc", save_best_only=True, mode="max"),
        lambda: Best("a.keras", "val_acc"),  # of which Keras can't tell what is better
        lambda: Best("{val_acc:.2f}.keras"),
    ],
)
def test_a_name_that_never_comes_is_refused_with_those_that_do(model, make):
    reason = _refused(model, make())
    assert "mine.py: callbacks() has " in reason
    assert "no 'val_acc' in the logs; expected one of accuracy, " in reason
    assert reason.endswith("Did you mean 'val_accuracy'?")


def test_a_name_that_comes_is_decided_about_before_the_first_epoch(model):
    stop, best = Early("val_accuracy", min_delta=0.1), Best("{epoch}-{loss:.2f}.keras", "loss")
    assert _check(model, stop, best) == [Watched("EarlyStopping", "val_accuracy")]
    assert stop.monitor_op(2.0, 1.0) and stop.min_delta == 0.1
    assert best.monitor_op(1.0, 2.0)


def test_a_checkpoint_of_every_epoch_needs_no_figure(model):
    assert _check(model, Best("a.keras", "val_acc", mode="max")) == []


def test_without_a_validation_split_its_absence_is_named(model):
    figures = Figures(TRAIN, TRAIN, is_validated=False)
    reason = _refused(model, Early("val_loss"), figures=figures)
    assert "This run has no validation split" in reason
    assert "Did you mean 'loss'?" in reason


def test_between_epochs_there_are_no_figures_of_a_validation(model):
    saves = {"save_freq": 10, "save_best_only": True}
    assert "only save_freq='epoch' has it" in _refused(model, Best("a.keras", **saves))
    assert "only save_freq='epoch' has it" in _refused(
        model, Best("{val_loss}.keras", "loss", save_freq=10)
    )
    assert _check(model, Best("{batch}-{loss:.1f}.keras", "loss", **saves)) == []


def test_the_number_of_a_batch_is_there_between_epochs_only(model):
    reason = _refused(model, Best("{batch}.keras"))
    assert "expected one of accuracy, each, epoch, loss" in reason
    assert "{batch} with save_freq=<a number of batches> only" in reason


@pytest.mark.parametrize("path", ["{}.keras", "{0}.keras", "{epoch.keras", "{loss:d}.keras"])
def test_a_path_that_keras_could_not_make_is_refused(model, path):
    assert "callbacks() has ModelCheckpoint(filepath=" in _refused(model, Best(path))


def test_a_figure_that_is_no_number_is_refused(model):
    reason = _refused(model, Early("val_each", mode="max"))
    assert "has the shape (3,); expected one number" in reason


def test_a_figure_of_which_keras_cannot_tell_what_is_better_is_refused(model):
    figures = Figures({}, {"val_a_accuracy": 0.0}, is_validated=True)
    reason = _refused(model, Early("val_a_accuracy"), figures=figures)
    assert "can't tell whether less or more is better; expected mode='min' or mode='max'" in reason
    assert _check(model, Early("val_a_accuracy", mode="max"), figures=figures)


def test_the_rate_is_there_for_who_comes_after_the_one_that_sets_it(model):
    sets = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    assert _check(model, sets, Early("learning_rate", mode="min"))
    assert _check(model, keras.callbacks.ReduceLROnPlateau("learning_rate", mode="min"))
    reason = _refused(model, Early("learning_rate", mode="min"), sets)
    assert "The callback that puts it into the logs has to come before." in reason


@pytest.mark.parametrize(
    "adds", [Adds(), keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)]
)
def test_a_callback_of_the_users_own_may_add_a_figure_for_those_after_it(model, adds):
    stop, path = Early("val_f1", mode="max"), Best("{val_f1:.2f}.keras")
    name = type(adds).__name__
    found = _check(model, adds, stop, path)
    assert found == [Watched("EarlyStopping", "val_f1", (name,))]
    assert FirstEpoch(found, print).rows == {
        "monitored": f"EarlyStopping monitors val_f1: expected from {name}"
    }
    assert f"If {name} adds it, list that first." in _refused(model, stop, adds)


def test_only_the_same_hook_adds(model):
    # Keras copies the logs for each hook.
    assert "no 'f1'" in _refused(model, AddsToBatches(), Early("f1", mode="max"))
    assert "no 'val_f1'" in _refused(model, Adds(), Best("{val_f1}.keras", save_freq=2))
    assert _check(model, AddsToBatches(), Best("{f1}.keras", save_freq=2)) == []


def test_one_that_has_its_own_way_may_add_what_it_watches(model):
    (found,) = _check(model, AddsItsOwn("val_f1", mode="max"))
    assert found.sources == ("AddsItsOwn",)


def test_what_only_others_know_is_not_refused(model):
    figures = Figures(TRAIN, TRAIN, is_validated=False, others=("the chief",))
    assert _check(model, Early("f1", mode="max"), figures=figures)[0].sources == ("the chief",)


def test_who_ends_a_run_whose_loss_is_none_needs_one(model):
    ends = keras.callbacks.TerminateOnNaN()
    assert _check(model, ends) == []
    own = Figures({"a": 0.0}, {"a": 0.0}, is_validated=False)
    assert "TerminateOnNaN, which looks at the loss" in _refused(model, ends, figures=own)


def test_what_is_not_there_after_the_first_epoch_is_told_once():
    said = []
    first = FirstEpoch(
        [Watched("EarlyStopping", "val_f1", ("F1",)), Watched("B", "loss")], said.append
    )
    for epoch in range(2):
        first.on_epoch_end(epoch, {"val_loss": 0.5, "loss": 1.0})
    assert said == [
        "EarlyStopping has nothing to go by: there is no val_f1 at the end of epoch 1, only loss, "
        "val_loss."
    ]


# What else they need.


def test_averages_that_nobody_keeps_cannot_be_swapped_in(model):
    swaps = keras.callbacks.SwapEMAWeights()
    with pytest.raises(ConfigError, match="expected one with use_ema=True"):
        require_needs([swaps], model, "mine.py")
    averaging = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    averaging.compile(keras.optimizers.SGD(use_ema=True), "mse")
    require_needs([swaps], averaging, "mine.py")


def test_a_monitor_of_a_server_needs_its_package(model, monkeypatch):
    posts = keras.callbacks.RemoteMonitor()
    require_needs([posts], model, "mine.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install requests"):
        require_needs([posts], model, "mine.py")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at: keras.callbacks.CSVLogger(at / "none" / "log.csv"), "mkdir -p .*none"),
        (lambda at: keras.callbacks.CSVLogger(at / "file" / "log.csv"), "file is no folder"),
        (lambda at: Best(at / "file" / "{epoch}" / "a.keras"), "file is no folder"),
        (lambda at: Best(at / "there.keras"), "is a folder; expected a file"),
        (lambda at: keras.callbacks.TensorBoard(str(at / "file" / "log")), "file is no folder"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused(tmp_path, make, said):
    (tmp_path / "file").touch()
    (tmp_path / "there.keras").mkdir()
    with pytest.raises(ConfigError, match=said):
        require_places([make(tmp_path)], tmp_path / "run", "mine.py")


def test_folders_that_keras_makes_or_the_run_need_not_be_there(tmp_path):
    callbacks = [
        Best(tmp_path / "new" / "{epoch}" / "a.keras"),
        keras.callbacks.CSVLogger(tmp_path / "run" / "log.csv"),
        keras.callbacks.CSVLogger("log.csv"),
        Best("gs://bucket/a.keras"),
    ]
    require_places(callbacks, tmp_path / "run", "mine.py")
    assert not list(tmp_path.iterdir())
