import threading

import tensorflow as tf

from tfscale.fit.keras.global_random import GlobalRandom
from tfscale.fit.keras.seams import seed_generator


def _in_another_thread(first=lambda: None):
    """The generator that another thread has, after it has done something."""
    found = []

    def look():
        first()
        found.append(seed_generator.global_seed_generator())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


def test_every_thread_can_have_the_one_generator():
    random = GlobalRandom(tf.distribute.get_strategy())
    assert _in_another_thread(random.use_here).state is random.state


def test_keras_still_has_a_generator_for_each_thread():
    # When this fails, GlobalRandom.use_here can go.
    assert _in_another_thread() is not seed_generator.global_seed_generator()
