"""What a run replaces in TensorFlow and Keras before it reads a file, for all tests of `fit`."""

import pytest

from tfscale.fit.process_wide import install_replacements


@pytest.fixture(scope="session", autouse=True)
def _replaced():
    install_replacements()
