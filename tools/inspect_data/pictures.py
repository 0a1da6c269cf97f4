"""A grid of examples as a picture: each image with its label under it and its boxes on it."""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfscale.errors import ConfigError
from tfscale.files.atomic import replacing
from tfscale.structures import Foreign, Structure
from tools.inspect_data.figures import Array, Figures, named_leaves
from tools.inspect_data.labels import caption_of

_CELL, _GAP, _TEXT_HEIGHT, _TEXT_SIZE = 128, 8, 18, 12  # pixels
_GROUND, _INK = (255, 255, 255), (20, 20, 20)
# Okabe and Ito's colours, which colour-blind people can tell apart.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


_VOID = 255  # of a pixel that belongs to no class, in most sets


@dataclass(frozen=True)
class Labels:
    """What the y of an example says.

    Args:
        task: of the dataset file.
        names: of the classes, where they are known.
    """

    task: str
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Scale:
    """How the numbers of an image become a grey level.

    Args:
        low: what becomes black.
        high: what becomes white.
        described: in words.
    """

    low: float
    high: float
    described: str

    def bytes_of(self, image: Array) -> NDArray[np.uint8]:
        """Uint8 (height, width, channels), 1 or 3 channels, of an image with or without them."""
        values = np.nan_to_num(image.astype(np.float64), nan=self.low)
        levels = (values - self.low) * (255.0 / (self.high - self.low))
        pixels: NDArray[np.uint8] = np.rint(levels.clip(0.0, 255.0)).astype(np.uint8)
        pixels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
        return pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1]


def scale_of(figures: Figures) -> Scale:
    """What is black and what is white, told by the range of all values."""
    low, high = figures.low, figures.high
    if figures.dtype == "bool" or (0.0 <= low and high <= 1.0 and figures.is_float):
        return Scale(0.0, 1.0, "0 is black, 1 is white")
    if low >= -1.0 and high <= 1.0 and figures.is_float:
        return Scale(-1.0, 1.0, "-1 is black, 1 is white")
    if figures.dtype == "uint8" or (low >= 0.0 and 16.0 < high <= 255.0):
        return Scale(0.0, 255.0, "0 is black, 255 is white")
    if not low < high:  # all the same, or nothing finite
        return Scale(low - 1.0, low + 1.0, "grey") if np.isfinite(low) else Scale(0, 1, "black")
    return Scale(low, high, f"{low:.4g} is black, {high:.4g} is white, as far as values go")


def image_of(figures: dict[str, Figures]) -> str | None:
    """The name of the first tensor of x that is an image, or None."""
    for name, one in figures.items():
        is_plane = len(one.shape) == 2 and min(one.shape) >= 4
        has_channels = len(one.shape) == 3 and one.shape[-1] in (1, 3, 4) and min(one.shape[:2]) > 1
        if name.startswith("x") and one.is_numeric and (is_plane or has_channels):
            return name
    return None


def mask_of(y: Structure, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """The class of each pixel that an example has, int (height, width); None if it has none.

    Args:
        y: of NumPy arrays.
        shape: of the image.
    """
    for leaf in named_leaves(((), y)).values():
        plane = leaf[..., 0] if leaf.ndim == 3 and leaf.shape[-1] == 1 else leaf
        if plane.ndim == 2 and plane.shape == shape[:2] and plane.dtype.kind in "iub":
            return plane.astype(np.int64)
    return None


def _with_mask(pixels: NDArray[np.uint8], mask: NDArray[np.int64] | None) -> NDArray[np.uint8]:
    """The image with each class but 0, the ground, in its colour; what is no class is black."""
    if mask is None:
        return pixels
    table = np.array([[int(one[at : at + 2], 16) for at in (1, 3, 5)] for one in _COLOURS])
    colours = table[np.clip(mask, 0, None) % len(table)]
    colours[(mask < 0) | (mask == _VOID)] = 0
    image = np.broadcast_to(pixels, (*mask.shape, 3)).astype(np.float64)
    mixed = np.where((mask == 0)[..., np.newaxis], image, 0.4 * image + 0.6 * colours)
    return np.rint(mixed).astype(np.uint8)


def _cell_of(example: Structure, name: str, scale: Scale) -> NDArray[np.uint8]:
    """The image of an example, under its mask if it has one."""
    pixels = scale.bytes_of(named_leaves(example)[name])
    return _with_mask(pixels, mask_of(example[1], pixels.shape))


def write_grid(
    path: str, examples: Sequence[Structure], name: str, scale: Scale, labels: Labels
) -> str:
    """Writes a PNG of the examples.

    Args:
        path: of the file; its folder is there.
        examples: `(x, y)` or `(x, y, sample_weight)` of NumPy arrays.
        name: of the tensor of x that is the image.
        scale: of its pixels.
        labels: what y says.

    Returns:
        What was drawn, in words.

    Raises:
        ConfigError: Pillow isn't installed.
        OSError: the file can't be written.
    """
    image_module, draw_module, font_module = (_pillow(part) for part in _PARTS)
    font = font_module.load_default(_TEXT_SIZE)
    columns = max(1, round(math.sqrt(len(examples) * 1.5)))
    rows = math.ceil(len(examples) / columns)
    cells = [_cell_of(example, name, scale) for example in examples]
    height, width = cells[0].shape[:2]
    factor = _CELL / max(height, width)
    factor = max(1, round(factor)) if factor > 1 else factor  # pixels stay square
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    column_width = max(size[0], _CELL // 2) + _GAP
    row_height = size[1] + _TEXT_HEIGHT + _GAP
    grid = image_module.new(
        "RGB", (columns * column_width + _GAP, rows * row_height + _GAP), _GROUND
    )
    draw = draw_module.Draw(grid)
    for number, (example, pixels) in enumerate(zip(examples, cells, strict=True)):
        left = _GAP + number % columns * column_width
        top = _GAP + number // columns * row_height
        method = image_module.Resampling.NEAREST if factor >= 1 else image_module.Resampling.BOX
        cell = image_module.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        grid.paste(cell.convert("RGB").resize(size, method), (left, top))
        _draw_boxes(draw, example[1], (left, top), size, font)
        text = _shortened(
            draw, caption_of(example[1], labels.task, labels.names), column_width - _GAP, font
        )
        draw.text((left, top + size[1] + 1), text, fill=_INK, font=font)
    with replacing(Path(path)) as temporary:
        grid.save(temporary, format="PNG")
    return (
        f"{path}: {len(examples)} examples, {grid.width} x {grid.height} pixels; {scale.described}"
    )


_PARTS = ("Image", "ImageDraw", "ImageFont")


def _pillow(part: str) -> Foreign:
    try:
        return importlib.import_module(f"PIL.{part}")
    except ImportError as error:
        raise ConfigError(
            f"A picture needs Pillow, which isn't there ({error}); expected it installed. Use "
            "pip install pillow, or leave --out out."
        ) from error


def _draw_boxes(
    draw: Foreign, y: Structure, corner: tuple[int, int], size: tuple[int, int], font: Foreign
) -> None:
    """Frames the boxes of a detection set on a picture, with their classes."""
    if not isinstance(y, dict) or not {"boxes", "classes"} <= set(y):
        return
    for box, number in zip(np.asarray(y["boxes"]), np.asarray(y["classes"]), strict=True):
        if number < 0 or not np.isfinite(box).all():
            continue
        y_min, x_min, y_max, x_max = np.clip(box, 0.0, 1.0) * np.tile(size[::-1], 2)
        left, top = corner[0] + x_min, corner[1] + y_min
        right = max(left, corner[0] + x_max - 1)
        bottom = max(top, corner[1] + y_max - 1)
        colour = _COLOURS[int(number) % len(_COLOURS)]
        draw.rectangle((left, top, right, bottom), outline=colour, width=2)
        text = str(int(number))
        draw.rectangle((left, top, left + 3 + draw.textlength(text, font), top + 13), fill=colour)
        draw.text((left + 2, top), text, fill=_INK, font=font)


def _shortened(draw: Foreign, text: str, width: int, font: Foreign) -> str:
    """The text, cut down to a width in pixels."""
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "...", font) > width:
        text = text[:-1]
    return text + "..."
