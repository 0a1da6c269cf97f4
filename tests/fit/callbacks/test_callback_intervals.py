import keras
import pytest

from tfscale.fit.callbacks.callback_intervals import Rhythm, Wish, described, wishes_of


class _Hooked(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        pass


class _OldName(keras.callbacks.Callback):
    def on_batch_end(self, batch, logs=None):
        pass


class _Watching(keras.callbacks.Callback):
    def on_test_batch_end(self, batch, logs=None):
        pass

    def on_predict_batch_begin(self, batch, logs=None):
        pass


class _Content(_Hooked):
    every_batch = False


class _Epochs(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        pass


def _wishes(callback):
    return [(wish.loop, wish.every, wish.until) for wish in wishes_of([callback])]


@pytest.mark.parametrize("kind", [_Hooked, _OldName, keras.callbacks.TerminateOnNaN])
def test_a_hook_of_training_batches_wants_every_batch_of_fit(kind):
    assert _wishes(kind()) == [("fit", 1, None)]


def test_a_function_given_to_lambda_callback_is_a_hook():
    given = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    assert _wishes(given) == [("fit", 1, None)]
    assert _wishes(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)) == []


def test_hooks_of_evaluations_and_predictions_want_their_batches():
    assert _wishes(_Watching()) == [("evaluate", 1, None), ("predict", 1, None)]


@pytest.mark.parametrize(
    "callback",
    [
        _Epochs(),
        _Content(),
        keras.callbacks.EarlyStopping(),
        keras.callbacks.ReduceLROnPlateau(),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
        keras.callbacks.CSVLogger("log.csv"),
        keras.callbacks.ModelCheckpoint("a.keras"),
        keras.callbacks.TensorBoard("board"),
        keras.callbacks.SwapEMAWeights(),
        keras.callbacks.ProgbarLogger(),
        keras.callbacks.History(),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_what_works_by_epochs_or_says_so_wants_nothing(callback):
    assert _wishes(callback) == []


def test_save_freq_wants_its_multiples():
    assert _wishes(keras.callbacks.ModelCheckpoint("a.keras", save_freq=50)) == [("fit", 50, None)]


def test_tensorboard_counts_its_calls():
    every = [("fit", 1, None), ("evaluate", 1, None)]
    assert _wishes(keras.callbacks.TensorBoard("board", update_freq="batch")) == every
    assert _wishes(keras.callbacks.TensorBoard("board", update_freq=10)) == every


def test_a_profile_wants_every_batch_up_to_its_last():
    board = keras.callbacks.TensorBoard("board")
    board._start_batch, board._stop_batch = 3, 5  # profile_batch=(3, 5) starts the profiler
    assert _wishes(board) == [("fit", 1, 5)]


def test_a_loop_ends_where_somebody_wants_to_be_called():
    rhythm = Rhythm([Wish("a", "fit", 50), Wish("b", "fit", 30), Wish("c", "evaluate")])
    taken, ends = 0, []
    while taken < 130:
        taken += rhythm.steps("fit", taken, wanted=40)
        ends.append(taken)
    assert ends == [30, 50, 60, 90, 100, 120, 150]
    assert rhythm.steps("evaluate", 0, wanted=64) == 1
    assert rhythm.steps("predict", 0, wanted=1) == 1


def test_a_wish_that_has_ended_holds_up_nobody():
    rhythm = Rhythm([Wish("profile", "fit", until=5)])
    assert [rhythm.steps("fit", taken, wanted=100) for taken in (0, 4, 5)] == [1, 1, 100]


def test_steps_per_execution_is_obeyed_whatever_callbacks_want():
    rhythm = Rhythm([Wish("a", "fit"), Wish("b", "fit", 50)], 4)
    assert [rhythm.steps("fit", taken, wanted=100) for taken in (0, 4, 48)] == [4, 4, 4]
    assert rhythm.steps("predict", 0, wanted=1) == 4
    assert rhythm.steps("evaluate", 0, wanted=64) == 64  # nobody sees it
    assert Rhythm([Wish("a", "evaluate")], 4).steps("evaluate", 0, wanted=64) == 4


def test_the_batch_number_is_kerass_where_compile_says_how_many_steps():
    # Keras 3.15.1 gives 11 for the last of 10 batches, 4 an execution.
    assert Rhythm(fixed_steps=4, is_compiled=True).last_batch(8, steps=2, asked=4) == 11
    assert Rhythm(fixed_steps=4).last_batch(8, steps=2, asked=4) == 9
    assert Rhythm().last_batch(8, steps=2, asked=100) == 9


def test_the_plan_names_who_makes_loops_short_and_what_helps():
    assert described([], 0) == ""
    text = described([Wish("CyclicRate", "fit")], 0)
    assert text.startswith("CyclicRate wants every batch of fit: loops of one step")
    assert "--steps_per_execution=8" in text
    assert described([Wish("Save", "fit", 50)], 0) == "Save wants every 50 batches of fit"
    assert "every 4 batches" in described([Wish("CyclicRate", "fit")], 4)
