"""Tells that the start of a run is over."""

from collections.abc import Callable
from typing import Any

import keras


class FirstStep(keras.callbacks.Callback):
    """Calls a function once, when the first step has been taken.

    Args:
        then: the function.
    """

    def __init__(self, then: Callable[[], None]) -> None:
        """Waits for the step."""
        super().__init__()
        self._then = then
        self._is_taken = False

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Calls the function the first time."""
        if not self._is_taken:
            self._is_taken = True
            self._then()
