"""What photos have that a decoder passes over: a note to turn them, and bits beyond the eighth."""

import io
import os
from collections import Counter
from collections.abc import Iterable

from PIL import Image

FIRST = 32  # whose headers are read when a training starts
_ORIENTATION, _UPRIGHT = 0x0112, (0, 1)  # of EXIF


def notes_of(photos: Iterable[str | bytes]) -> str:
    """What is so of some photos, for the plan; "" where nothing is.

    Only headers are read. What is no image is passed over: to decode it will say so better.

    Args:
        photos: paths, or what the files hold.
    """
    found, looked_at = Counter[str](), 0
    for photo in photos:
        looked_at += 1
        try:
            with Image.open(io.BytesIO(photo) if isinstance(photo, bytes) else photo) as image:
                if image.getexif().get(_ORIENTATION, 0) not in _UPRIGHT:
                    found["a note to turn them (EXIF), which isn't applied"] += 1
                if image.mode.startswith("I"):
                    found["16 bits a channel, of which 8 are kept"] += 1
        except (OSError, SyntaxError, ValueError):
            continue
    told = [f"{count} have {what}" for what, count in found.items()]
    return f"of {looked_at} images looked at, {'; '.join(told)}" if told else ""


def of_first(folder: str, names: list[str]) -> str:
    """What is so of the first images of a split.

    Args:
        folder: that the names are below.
        names: of all images.
    """
    # Spread over all of them: they are sorted by class, or by camera.
    every = max(1, len(names) // FIRST)
    return notes_of(os.path.join(folder, name) for name in names[::every][:FIRST])
