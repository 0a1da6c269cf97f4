"""Many trainings in one process, without a look through all that TensorFlow has made after each."""

import gc

_TOGETHER = 8


def one_by_one(names):
    """Gives the names; garbage is looked for after every eighth, which has 0.2 s each time.

    tfscale leaves to the collector what was frozen before its run; `one_process.py` shows what it
    does of its own.
    """
    for number, name in enumerate(names):
        if number % _TOGETHER == 0:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        yield name
