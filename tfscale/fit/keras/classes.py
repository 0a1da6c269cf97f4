"""What is Keras's own and what is somebody else's."""

from tfscale.structures import Foreign


def is_kerass(what: Foreign) -> bool:
    """Whether a class or a function comes from Keras."""
    return str(getattr(what, "__module__", "")).partition(".")[0] == "keras"
