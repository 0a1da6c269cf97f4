"""What TensorFlow and Keras do otherwise as long as the process lives; docs/patches.md has all."""

from tfscale.fit.checks import loss_scaling
from tfscale.fit.keras import loss_reduction, tape


def install_replacements() -> None:
    """Makes the replacements, once; call it before a file of the user's is read.

    What such a file imports by its name is what it gets. Outside of a step nothing differs.
    """
    loss_reduction.install()
    tape.install()
    loss_scaling.install()
