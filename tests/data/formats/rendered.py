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


def voc_annotation(image_id, objects, size=(SIDE, SIDE)):
    """The XML of a picture: a name, the corners x, y, x, y and whether it is difficult, of each."""
    items = "".join(
        f"<object><name>{name}</name><pose>Left</pose><difficult>{difficult}</difficult>"
        f"<bndbox><xmax>{box[2]}</xmax><xmin>{box[0]}</xmin><ymax>{box[3]}</ymax>"
        f"<ymin>{box[1]}</ymin></bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        "<xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
        for name, box, difficult in objects
    )
    return (
        f"<annotation><filename>{image_id}.jpg</filename><size><width>{size[1]}</width>"
        f"<height>{size[0]}</height><depth>3</depth></size>{items}</annotation>"
    )
