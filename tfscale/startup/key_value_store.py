"""TensorFlow's store of keys, as it can be asked from any thread.

It lives in worker 0, beside the coordination service. A connection to it that is cut off fails
whatever waits for an answer then, and who listens would be deaf from then on; the next question
opens another connection.
"""

import math
import time
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf
from tensorflow.python.eager import context

from tfscale.startup.network.probe import is_answering, run_apart

_PAUSE_SECONDS = 0.1  # before a question is asked again
_MOST_SILENCES = 5  # of a second and more, in a row: nobody is there any more
_MOST_MEETINGS = 3  # tries of one
_T = TypeVar("_T")


class Store:
    """What is asked of it is asked again when its connection breaks, while worker 0 runs.

    Args:
        address: `host:port` of worker 0.
    """

    def __init__(self, address: str) -> None:
        """Asks nothing yet; the strategy has to stand already."""
        self._address = address
        self._keys = context.context()

    def put(self, key: str, value: str) -> None:
        """Writes a key down, which nobody has written yet.

        Raises:
            tf.errors.AlreadyExistsError: somebody has.
            tf.errors.OpError: the store can't be reached.
        """
        asked = 0

        def ask() -> None:
            nonlocal asked
            asked += 1
            try:
                self._keys.set_config_key_value(key, value)
            except tf.errors.AlreadyExistsError:
                if asked == 1:
                    raise  # or else it may be this worker's own, whose answer was lost

        self._ask(ask)

    def get(self, key: str, timeout_seconds: float = 0.0) -> str:
        """Gives what is written, as soon as it is.

        Args:
            key: of it.
            timeout_seconds: how long it is waited for; 0 for ever.

        Raises:
            tf.errors.DeadlineExceededError: nobody has written it in time.
            tf.errors.OpError: the store can't be reached.
        """
        milliseconds = math.ceil(1000 * timeout_seconds)  # 0 would be for ever
        return self._ask(lambda: str(self._keys.get_config_key_value(key, milliseconds)))

    def remove(self, key: str) -> None:
        """Takes a key away.

        Raises:
            tf.errors.OpError: the store can't be reached.
        """
        self._ask(lambda: self._keys.delete_config_key_value(key))

    def meet(self, name: str, timeout_seconds: float) -> None:
        """Returns when every worker is here; who comes a second time is no other one.

        Raises:
            tf.errors.OpError: somebody isn't, or the store can't be reached.
        """
        milliseconds = int(1000 * timeout_seconds)
        # A worker that is lost may fail it in the same way, each time anew.
        self._ask(lambda: self._keys.wait_at_barrier(name, milliseconds), most=_MOST_MEETINGS)

    def _ask(self, ask: Callable[[], _T], most: float = math.inf) -> _T:
        asked = silences = 0
        while True:
            asked += 1
            try:
                return ask()
            except tf.errors.UnavailableError:
                if asked >= most:
                    raise
                is_there = run_apart(lambda: is_answering(self._address))
                silences = 0 if is_there else silences + 1
                if silences == _MOST_SILENCES:
                    raise
                time.sleep(_PAUSE_SECONDS)
