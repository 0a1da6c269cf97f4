"""Pictures whose pixels say which they are, written as the files of a data set."""

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24


def picture(number, channels=3):
    """A frame around a colour of its own: uint8 (24, 24, channels)."""
    pixels = np.full((SIDE, SIDE, channels), 255, np.uint8)
    pixels[4:-4, 4:-4] = [(37 * number + 61 * channel) % 200 for channel in range(channels)]
    return pixels


def write(path, pixels):
    """Writes a picture in the format that its name says."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
