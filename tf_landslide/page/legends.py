"""What colours mean, written below a picture: bars with round numbers, and swatches with names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

NARROWEST = 400  # pixels of width that words need; a narrower picture gets a white margin
_BAR, _FONT, _PAD = 24, 32, 10  # pixels
_INK, _PAPER = (31, 41, 55), (255, 255, 255)


@dataclass(frozen=True)
class Scale:
    """A colour map of Matplotlib over a range of values.

    Attributes:
        colours: name of the map.
        ticks: the values that are written below the bar; the first and last are the range's ends.
        unit: behind the last tick.
    """

    colours: str
    ticks: tuple[float, ...]
    unit: str = ""

    def picture(self, values: np.ndarray) -> np.ndarray:
        """(H, W) values as (H, W, 3) uint8; missing ones grey."""
        low, high = self.ticks[0], self.ticks[-1]
        scaled = np.clip((values - low) / (high - low), 0, 1)
        picture = (matplotlib.colormaps[self.colours](np.nan_to_num(scaled))[..., :3] * 255).round().astype(np.uint8)
        picture[~np.isfinite(values)] = 128
        return picture


def with_bar(picture: np.ndarray, scale: Scale) -> np.ndarray:
    """A picture with its colour bar below."""
    width = max(picture.shape[1], NARROWEST)
    strip = Image.new("RGB", (width, 2 * _PAD + _BAR + _FONT + 4), _PAPER)
    low, high = scale.ticks[0], scale.ticks[-1]
    bar = scale.picture(np.linspace(low, high, width - 2 * _PAD)[None].repeat(_BAR, axis=0))
    strip.paste(Image.fromarray(bar), (_PAD, _PAD))
    draw = ImageDraw.Draw(strip)
    for position, tick in enumerate(scale.ticks):
        text = f"{tick:g}".replace("-", "−") + (scale.unit if position == len(scale.ticks) - 1 else "")
        x = _PAD + (tick - low) / (high - low) * (width - 2 * _PAD)
        anchor = {0: "lt", len(scale.ticks) - 1: "rt"}.get(position, "mt")
        draw.text((x, _PAD + _BAR + 4), text, _INK, _font(), anchor)
    return _below(picture, np.asarray(strip))


def with_swatches(picture: np.ndarray, colours: Mapping[str, Sequence[int]]) -> np.ndarray:
    """A picture with a row of colours and their names below."""
    width = max(picture.shape[1], NARROWEST)
    strip = Image.new("RGB", (width, 2 * _PAD + _FONT), _PAPER)
    draw = ImageDraw.Draw(strip)
    lengths = {name: _BAR + 8 + _font().getlength(name) for name in colours}
    gap = (width - 2 * _PAD - sum(lengths.values())) / max(1, len(colours) - 1)
    x = float(_PAD)
    for name, colour in colours.items():
        top = _PAD + (_FONT - _BAR) / 2
        draw.rectangle((x, top, x + _BAR, top + _BAR), tuple(colour), _INK)
        draw.text((x + _BAR + 8, _PAD + _FONT / 2), name, _INK, _font(), "lm")
        x += lengths[name] + min(gap, 60)
    return _below(picture, np.asarray(strip))


def _below(picture: np.ndarray, strip: np.ndarray) -> np.ndarray:
    margin = [(0, 0), (0, strip.shape[1] - picture.shape[1]), (0, 0)]
    return np.concatenate([np.pad(picture, margin, constant_values=255), strip])


@cache
def _font() -> ImageFont.FreeTypeFont:
    """Matplotlib's own, which every machine then has."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), _FONT)
