"""What a run replaces in TensorFlow and Keras before it reads a file, for all tests of `fit`."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _replaced():
    # Not above: where Keras lacks something, tests that need none of it run all the same.
    from tfscale.fit.process_wide import install_replacements

    install_replacements()
