"""What segments are like: spectra, texture, terrain, form, neighbourhood and probability, a column for each attribute.

Directions are degrees clockwise from the grid's north. A value that cannot be told is NaN; a column whose layer is not
there is left out, as are metres where the size of a pixel is not known.

* ``LAYER_mean``, ``LAYER_std``: of every layer, missing pixels left out; ``brightness`` is the visible bands' mean.
* ``LAYER_contrast``: the segment's mean less that of its neighbours, weighted by the border that they share with it.
* ``LAYER_texture_mean``, ``LAYER_texture_homogeneity``: of the layers of ``texture``, see ``sums.Texture``.
* ``relief``: greatest less least ``dem``. ``curvature_mean``: above 0 convex, see ``bands.terrain.curvature``.
* ``aspect_deg``: circular mean of the way down the slope; NaN where there is no common one.
* ``area_px area_m2 length_px length_m width_px width_m length_width orientation_deg rectangular_fit``: see ``form``.
* ``compactness``: 4 pi area / perimeter squared, the perimeter along the pixels' edges, inner ones too: 0.79 for a
  square, towards 0.62 for a disc, less for what is long or frayed.
* ``off_aspect_deg``: between orientation and aspect: 0 runs downhill, 90 along the contour.
* ``flat_distance_px flat_distance_m``: of the nearest pixel to ground no steeper than ``flat``; at most
  ``nearness.FARTHEST_METRES`` (or ``FARTHEST_PIXELS``). ``river_distance_…``: to where ``river`` is above 0.5.
* ``probability_share``: of the known pixels, those of at least ``threshold``. ``probability_max``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.sparse import coo_array

from tf_landslide.bands.terrain import PixelSize, between_axes
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.progress import progress
from tf_landslide.objects.form import Form, rectangular_fit
from tf_landslide.objects.pieces import Borders
from tf_landslide.objects.planes import DERIVED, NEARNESS, planes
from tf_landslide.objects.strips import Image, Rows, Strip
from tf_landslide.objects.sums import Extreme, Means, Moments, Texture, borders, ratio

if TYPE_CHECKING:
    from tf_landslide.scenes.grid import Grid, Window
    from tf_landslide.scenes.layers import Layer


class Segments(Protocol):
    """The labels of a scene: int32, 0 where there is no segment, else 1..count."""

    @property
    def count(self) -> int: ...

    def read(self, window: Window) -> np.ndarray: ...


Table = dict[str, np.ndarray]
"""(N,) float64 by attribute; row i describes segment i + 1."""

TEXTURES: Mapping[str, tuple[float, float]] = {"brightness": (0.0, 1.0)}
"""Layers whose texture is measured, and the range of their grey levels; what lies beyond counts as its ends."""

FLAT = 5.0
"""Degrees of slope up to which ground is flat."""

AT_ONCE = 2**22
"""Pixels of a scene that are described at a time."""

_SCATTERED = 0.1  # mean length of the unit vectors downhill below which there is no common aspect


def measure(
    labels: np.ndarray,
    layers: Mapping[str, np.ndarray],
    *,
    pixel_size: PixelSize | None = None,
    threshold: float = 0.5,
    flat: float = FLAT,
    texture: Mapping[str, tuple[float, float]] = TEXTURES,
) -> Table:
    """The attributes of a patch's segments.

    Args:
        labels: (H, W) int, 0 where there is no segment, else 1..N.
        layers: (H, W) planes by name, NaN where missing.
        pixel_size: ground size of a pixel in metres, or its height and width in each row; None where not known.
        threshold: of ``probability_share``.
        flat: in the unit of ``slope``.
        texture: the layers whose texture is measured, and the ranges of their grey levels.

    Raises:
        LandslideError: labels are no image of whole numbers, or a layer differs in shape.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0:
        raise LandslideError(f"labels are {labels.dtype} {labels.shape}; expected (H, W) whole numbers from 0 on")
    planes = {name: np.asarray(layer) for name, layer in layers.items()}
    for name, plane in planes.items():
        if plane.shape != labels.shape:
            raise LandslideError(f"layer {name!r} has shape {plane.shape}, the labels {labels.shape}")
    height, width = (1.0, 1.0) if pixel_size is None else _height_and_width(pixel_size)
    image = Image(
        shape=labels.shape,
        count=int(labels.max(initial=0)),
        labels=_rows_of(labels),
        layers={name: _rows_of(plane) for name, plane in planes.items()},
        heights=np.broadcast_to(np.asarray(height, np.float64), labels.shape[:1]),
        widths=np.broadcast_to(np.asarray(width, np.float64), labels.shape[:1]),
        metric=pixel_size is not None,
    )
    return _described(image, labels.shape[0], threshold, flat, texture)


def measure_scene(
    segments: Segments,
    layers: Mapping[str, Layer],
    grid: Grid,
    threshold: float = 0.5,
    *,
    flat: float = FLAT,
    texture: Mapping[str, tuple[float, float]] = TEXTURES,
    rows: int | None = None,
) -> Table:
    """The attributes of a scene's segments: as ``measure`` gives them of the whole, whatever ``rows`` is.

    Memory is that of a strip of rows and of the table.

    Args:
        segments: the labels, on the grid.
        layers: by name, over the grid.
        grid: of the scene; its pixels' sizes are asked row by row.
        threshold, flat, texture: as for ``measure``.
        rows: that are read at a time; by default as many as ``AT_ONCE`` pixels make.

    Raises:
        LandslideError: a layer gives rows of another shape.
    """
    from tf_landslide.scenes.grid import Window  # of the extra "map", which patches do without

    height, width = grid.shape

    def rows_of(what: str, read: Layer) -> Rows:
        def found(top: int, bottom: int) -> np.ndarray:
            plane = read(Window(top, 0, bottom - top, width))
            if plane.shape != (bottom - top, width):
                raise LandslideError(f"{what} gives {plane.shape} for rows of shape {(bottom - top, width)}")
            return plane

        return found

    heights, widths = grid.pixel_sizes(np.arange(height))
    image = Image(
        shape=grid.shape,
        count=segments.count,
        labels=rows_of("segments", segments.read),
        layers={name: rows_of(f"layer {name!r}", layer) for name, layer in layers.items()},
        heights=heights,
        widths=widths,
        metric=True,
    )
    return _described(image, rows or max(1, AT_ONCE // width), threshold, flat, texture)


def _height_and_width(size: PixelSize) -> tuple[np.ndarray | float, np.ndarray | float]:
    return (float(size), float(size)) if isinstance(size, (int, float)) else size


def _rows_of(plane: np.ndarray) -> Rows:
    return lambda top, bottom: plane[top:bottom]


class _Sums:
    """All that is summed over the strips."""

    def __init__(self, count: int, texture: Mapping[str, tuple[float, float]]):
        self._count, self._texture = count, texture
        self.moments = Moments(count)
        self.borders: list[Borders] = []
        self.means: dict[str, Means] = {}
        self.textures: dict[str, Texture] = {}
        self.least: dict[str, Extreme] = {}
        self.greatest: dict[str, Extreme] = {}

    def add_form(self, strip: Strip) -> None:
        """Where the segments lie."""
        self.moments.add(strip)
        self.borders.append(borders(strip))

    def add(self, strip: Strip, name: str, values: np.ndarray) -> None:
        """A plane that ``planes.planes`` gives."""
        own = values[-len(strip.own) :]
        if name not in NEARNESS:
            self.means.setdefault(name, Means(self._count)).add(strip, own)
        if name in self._texture:
            self.textures.setdefault(name, Texture(self._count, *self._texture[name])).add(strip, values)
        if name in (*NEARNESS, "dem"):
            self.least.setdefault(name, Extreme(self._count, np.minimum)).add(strip, own)
        if name in ("dem", "probability"):
            self.greatest.setdefault(name, Extreme(self._count, np.maximum)).add(strip, own)


def _described(
    image: Image, rows: int, threshold: float, flat: float, texture: Mapping[str, tuple[float, float]]
) -> Table:
    """The attributes of an image, read ``rows`` rows at a time."""
    sums = _Sums(image.count, texture)
    strips = image.strips(rows)
    if rows < image.shape[0]:
        strips = progress(strips, total=-(-image.shape[0] // rows), label="describing segments", unit="strip")
    for strip in strips:
        sums.add_form(strip)
        for name, values in planes(strip, threshold, flat):
            sums.add(strip, name, values)
    form = Form.of(sums.moments, image.heights, image.widths)
    table = _form_columns(image, sums.moments, form)
    table["rectangular_fit"] = rectangular_fit(image, form, sums.moments.pixels, rows)
    return table | _layer_columns(sums) | _terrain_columns(sums, form, table["orientation_deg"], image.metric)


def _form_columns(image: Image, moments: Moments, form: Form) -> Table:
    """Area, length, width, compactness and orientation."""
    pixels = Form.of(moments, np.ones(image.shape[0]), np.ones(image.shape[0]))
    table = {"area_px": moments.pixels, "length_px": pixels.length, "width_px": pixels.width}
    if image.metric:
        table |= {"area_m2": moments.area, "length_m": form.length, "width_m": form.width}
    return table | {
        "length_width": form.length / form.width,
        "compactness": 4 * np.pi * ratio(moments.area, np.square(moments.perimeter)),
        "orientation_deg": form.orientation,
    }


def _layer_columns(sums: _Sums) -> Table:
    """Means, deviations, contrasts and textures of the layers."""
    neighbours = _Neighbours(Borders.merged(sums.borders), len(sums.moments.pixels))
    table: Table = {}
    for name, means in sums.means.items():
        if name in DERIVED:
            continue
        mean = means.mean
        table |= {
            f"{name}_mean": mean,
            f"{name}_std": means.deviation,
            f"{name}_contrast": mean - neighbours.mean(mean),
        }
    for name, texture in sums.textures.items():
        table |= {f"{name}_texture_mean": texture.mean, f"{name}_texture_homogeneity": texture.homogeneity}
    for name in ("probability_share", "curvature"):
        if name in sums.means:
            table[name if name == "probability_share" else f"{name}_mean"] = sums.means[name].mean
    if "probability" in sums.greatest:
        table["probability_max"] = sums.greatest["probability"].value
    return table


def _terrain_columns(sums: _Sums, form: Form, orientation: np.ndarray, metric: bool) -> Table:
    """Relief, aspect, and how far flat ground and rivers are."""
    table: Table = {}
    if "dem" in sums.least:
        east, north = sums.means["downhill_east"].mean, sums.means["downhill_north"].mean
        aspect = np.where(np.hypot(east, north) >= _SCATTERED, np.degrees(np.arctan2(east, north)) % 360, np.nan)
        table["relief"] = sums.greatest["dem"].value - sums.least["dem"].value
        table |= {"aspect_deg": aspect, "off_aspect_deg": between_axes(orientation, aspect)}
    for name in NEARNESS:
        if name in sums.least:
            distance = sums.least[name].value
            table[f"{name}_px"] = distance / np.sqrt(form.height * form.width_of_pixel)
            if metric:
                table[f"{name}_m"] = distance
    return table


class _Neighbours:
    """Who borders on whom, as a symmetric matrix of lengths."""

    def __init__(self, borders: Borders, count: int):
        a, b = borders.a - 1, borders.b - 1
        pairs = np.concatenate([a, b]), np.concatenate([b, a])
        lengths = np.concatenate([borders.length, borders.length]).astype(np.float64)
        self._lengths = coo_array((lengths, pairs), (count, count)).tocsr()

    def mean(self, values: np.ndarray) -> np.ndarray:
        """(N,) mean of the neighbours' values, weighted by the length of the border; unknown ones left out."""
        known = np.isfinite(values)
        return ratio(self._lengths @ np.where(known, values, 0), self._lengths @ known.astype(np.float64))
