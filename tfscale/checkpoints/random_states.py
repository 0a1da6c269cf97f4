"""The random numbers of Python and NumPy, which callbacks and metrics of a user's may draw."""

import random

import numpy as np

_PYTHON, _NUMPY = "random/python", "random/numpy"


def read() -> dict[str, np.ndarray]:
    """The states of both generators of this process, as arrays by their names."""
    version, words, gauss = random.getstate()
    _, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        _PYTHON: np.asarray([version, *words], np.uint32),
        f"{_PYTHON}/gauss": np.asarray([gauss is not None, gauss or 0.0], np.float64),
        _NUMPY: np.append(np.asarray(keys, np.uint32), np.uint32(place)),
        f"{_NUMPY}/gauss": np.asarray([has_gauss, cached], np.float64),
    }


def write(arrays: dict[str, np.ndarray]) -> None:
    """Sets both to what `read` gave."""
    words, (has_gauss, gauss) = arrays[_PYTHON].tolist(), arrays[f"{_PYTHON}/gauss"].tolist()
    random.setstate((words[0], tuple(words[1:]), gauss if has_gauss else None))
    keys, (has_gauss, gauss) = arrays[_NUMPY], arrays[f"{_NUMPY}/gauss"].tolist()
    np.random.set_state(("MT19937", keys[:-1].copy(), int(keys[-1]), int(has_gauss), gauss))
