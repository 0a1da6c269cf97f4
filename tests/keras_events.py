"""What a listener is told, of a training by plain Keras in one process."""

import keras

from tests.report.boundaries import boundary_of
from tfscale.fit.loop.events import EpochEnd, Point


def fit(model, listener, callbacks, *args, **kwargs):
    """Keras's own `fit`, of which a listener is told as the distributed one tells of its loops."""
    first, last = _First(listener), _Last(listener)
    model.fit(*args, **kwargs, verbose=0, callbacks=[first, *callbacks, last])


class _First(keras.callbacks.Callback):
    """Comes before the user's callbacks."""

    def __init__(self, listener):
        super().__init__()
        self._listener, self._step = listener, 0

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        self._listener.at_boundary(boundary_of(step=self._step, steps=1, logs=logs))

    def on_epoch_end(self, epoch, logs=None):
        self._listener.at_epoch_end(EpochEnd(epoch, self._step, dict(logs)))


class _Last(keras.callbacks.Callback):
    """Comes when all of them have seen the same."""

    def __init__(self, listener):
        super().__init__()
        self._listener = listener

    def _reached(self, loop, done):
        self._listener.at_point(Point(loop, done, self.params["steps"]))

    def on_epoch_begin(self, epoch, logs=None):
        self._reached("fit", 0)

    def on_train_batch_end(self, batch, logs=None):
        self._reached("fit", batch + 1)

    def on_test_begin(self, logs=None):
        self._reached("validation", 0)

    def on_test_batch_end(self, batch, logs=None):
        self._reached("validation", batch + 1)
