"""A search of a catalogue: an area and days in, manifests of the best scenes out."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import requests
import shapely
import yaml
from pystac.errors import STACError, STACTypeError
from pystac_client import Client, ItemSearch
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError

from tf_landslide.core.errors import LandslideError, first_line, lookup, warn
from tf_landslide.core.files import TEXT_BYTES, write_text
from tf_landslide.core.safe_xml import Element, parse_xml
from tf_landslide.scenes.catalogue import CATALOGUES, Catalogue, Found, found, manifest_of, terrain_address
from tf_landslide.scenes.source import HOSTS, href, signed

MOST_ITEMS = 500
MOST_TILES = 100  # of the terrain model, of one degree each
TERRAIN_CATALOGUE = "earth-search"
_NO_CATALOGUE = (  # what pystac-client raises at an answer that is none
    APIError,
    ClientTypeError,
    STACError,
    STACTypeError,
    requests.RequestException,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)
_ALL = 0.995  # of an area; what lacks then lies between outlines that are drawn roughly
TIMEOUT = 60.0  # seconds without an answer


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        bbox: west, south, east, north in degrees; an area over 180 degrees has its east in the west.
        days: first and last day.
        catalogue: its name.
        level: ``1C`` or ``2A``.
        max_cloud: of a scene, in percent.
        event: a day; the best scene before it and the best one from it on are both wanted.
        url: of the API, in place of the catalogue's own.
        hosts: that addresses may name besides the known ones.
        every_tile: one manifest for each tile of the best scene's day that the area needs.
    """

    bbox: tuple[float, float, float, float]
    days: tuple[date, date]
    catalogue: str = "earth-search"
    level: str = "2A"
    max_cloud: float = 30.0
    event: date | None = None
    url: str | None = None
    hosts: tuple[str, ...] = ()
    every_tile: bool = False
    area: shapely.Polygon = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        west, south, east, north = self.bbox
        over = east < west  # 180 degrees
        width = east - west + 360 * over
        if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90 and width > 0):
            raise LandslideError(f"{west:g},{south:g},{east:g},{north:g}: expected WEST,SOUTH,EAST,NORTH in degrees")
        if over and width > 180:
            raise LandslideError(
                f"{west:g},{south:g},{east:g},{north:g}: expected WEST,SOUTH,EAST,NORTH in degrees; from west to east "
                f"that is {width:g} degrees over the line of 180"
            )
        if self.days[0] > self.days[1]:
            raise LandslideError(f"{self.days[0]}/{self.days[1]}: the first day comes after the last")
        if self.event and not self.days[0] <= self.event <= self.days[1]:
            raise LandslideError(f"--event {self.event}: lies outside of {self.days[0]}/{self.days[1]}")
        object.__setattr__(self, "area", shapely.box(west, south, west + width, north))

    def boxes(self, margin: float = 0.0) -> list[tuple[float, float, float, float]]:
        """The area as a search takes it, with a margin in degrees: one box, or two that meet at 180 degrees."""
        west, south, east, north = self.bbox
        west, south, east, north = west - margin, max(south - margin, -90), east + margin, min(north + margin, 90)
        if self.bbox[0] < self.bbox[2]:
            return [(max(west, -180), south, min(east, 180), north)]
        return [(west, south, 180.0, north), (-180.0, south, east, north)]

    @property
    def allowed(self) -> frozenset[str]:
        return HOSTS | {host.lower() for host in self.hosts}


def search(wanted: Search, out: Path) -> list[dict[str, Any]]:
    """Write a manifest of the best scene; with an event two, ``…_before`` and ``…_after``; of every tile that the area
    needs on its day, ``…_T54TWN``, if that is wanted; of its second product there, ``…_T54TWN_2``.

    Best is what covers most of the area, then what has fewest clouds, then what is nearest to the event.

    Returns:
        of each manifest: path, id, date, clouds in percent, covered share of the area.

    Raises:
        LandslideError: no catalogue of such scenes, no scene, or a catalogue that contradicts itself.
    """
    catalogue = lookup(CATALOGUES, wanted.catalogue, "catalogue")
    if wanted.level not in catalogue.collections:
        having = [name for name, other in CATALOGUES.items() if wanted.level in other.collections]
        raise LandslideError(
            f"{wanted.catalogue}: has no scenes of Level-{wanted.level}; {', '.join(having) or 'no catalogue'} has"
        )
    made: dict[Path, tuple[Found, dict[str, Any]]] = {}  # all are found before the first is written
    terrain = _terrain(wanted)
    for path, days in _parts(wanted, out):
        for scene in _chosen(_scenes(wanted, catalogue, days), wanted, days):
            values = manifest_of(scene, terrain, lambda place: _metadata(place, wanted.allowed), wanted.allowed)
            if wanted.event and days[0] >= wanted.event:
                values |= {"event_from": wanted.event.isoformat(), "event_to": scene.date}
            made[_own_path(path, scene.tile, made) if wanted.every_tile else path] = scene, values
    for path, (_, values) in made.items():
        write_text(path, yaml.safe_dump(values, sort_keys=False))
    return [
        {"manifest": str(path), "id": scene.id, "date": scene.date, "clouds": scene.clouds, "covered": scene.covered}
        for path, (scene, _) in made.items()
    ]


def _own_path(path: Path, tile: str, taken: Collection[Path]) -> Path:
    """Where a tile's manifest is written: a tile may have several products of one day, and each its own file."""
    names = (f"{path.stem}_{tile}{'' if number == 1 else f'_{number}'}" for number in count(1))
    return next(own for own in map(path.with_stem, names) if own not in taken)


def _parts(wanted: Search, out: Path) -> Iterator[tuple[Path, tuple[date, date]]]:
    """The manifests to write, and the days that each is of."""
    if not wanted.event:
        yield out, wanted.days
        return
    if wanted.days[0] < wanted.event:
        yield out.with_stem(f"{out.stem}_before"), (wanted.days[0], wanted.event - timedelta(days=1))
    yield out.with_stem(f"{out.stem}_after"), (wanted.event, wanted.days[1])


def _scenes(wanted: Search, catalogue: Catalogue, days: tuple[date, date]) -> list[Found]:
    url, collection = wanted.url or catalogue.url, catalogue.collections[wanted.level]
    with _told(url):
        client = Client.open(url, timeout=TIMEOUT)
        items = _each_once(
            client.search(collections=[collection], bbox=box, datetime=f"{days[0]}/{days[1]}", max_items=MOST_ITEMS)
            for box in wanted.boxes()
        )
    if len(items) >= MOST_ITEMS:
        warn(f"{url}: gave the first {MOST_ITEMS} scenes; fewer days or a smaller area see all")
    return [found(item, wanted.level, wanted.area) for item in items]


def _each_once(searches: Iterable[ItemSearch]) -> list[dict[str, Any]]:
    """The items of some searches in the order of their ids."""
    items = {str(item.get("id")): item for asked in searches for item in asked.items_as_dicts()}
    return [items[name] for name in sorted(items)]


def _chosen(scenes: list[Found], wanted: Search, days: tuple[date, date]) -> list[Found]:
    """The best scene; where every tile is wanted, also those of its day that the area needs besides it.

    Warns where the area needs more than is chosen.
    """
    clear = [scene for scene in scenes if scene.clouds <= wanted.max_cloud and scene.covered > 0]
    if not clear:
        least = min((scene.clouds for scene in scenes), default=None)
        why = (
            f"the clearest of {len(scenes)} has {least:g} % clouds" if least is not None else "the catalogue knows none"
        )
        raise LandslideError(
            f"no scene of {days[0]}/{days[1]} with at most {wanted.max_cloud:g} % clouds: {why}; --max-cloud, more days"
        )

    def worth(scene: Found) -> tuple[float, float, int, str]:
        away = abs((date.fromisoformat(scene.date) - wanted.event).days) if wanted.event else 0
        return -round(scene.covered, 2), scene.clouds, away, scene.id

    best = min(clear, key=worth)
    others = _beside(best, sorted(clear, key=worth), wanted.area)
    chosen = [best, *others] if wanted.every_tile else [best]
    covered = shapely.union_all([scene.part for scene in chosen]).area / wanted.area.area
    if covered < _ALL:
        told = f"{best.id}: covers {best.covered:.0%} of the area"
        if wanted.every_tile:
            tiles = len({scene.tile for scene in chosen})
            told = f"the {tiles} tiles of {best.date} cover {covered:.0%} of the area; search the rest by itself"
        elif others:
            besides = ", ".join(scene.tile for scene in others)
            told += f"; of the same day there are {besides}: --all writes a manifest for each, map each by itself"
        else:
            told += "; search the rest by itself"
        warn(told)
    return chosen


def _beside(best: Found, scenes: list[Found], area: shapely.Polygon) -> list[Found]:
    """Of the best scene's day, the others that the area needs, those first that add most.

    They may be of its own tile: where two datastrips meet, each is a product of a part of it.
    """
    rest = [one for one in scenes if one.date == best.date and one.id != best.id]
    left, chosen = area.difference(best.part), []
    while rest and left.area > (1 - _ALL) * area.area:
        most = max(rest, key=lambda scene: scene.part.intersection(left).area)
        if most.part.intersection(left).area < (1 - _ALL) * area.area:
            break
        chosen.append(most)
        left = left.difference(most.part)
        rest = [scene for scene in rest if scene.id != most.id]
    return chosen


def _terrain(wanted: Search) -> list[str]:
    """Addresses of the tiles of Copernicus' terrain model under the area, by their names."""
    own = CATALOGUES[wanted.catalogue]
    catalogue = own if own.terrain else CATALOGUES[TERRAIN_CATALOGUE]
    url = wanted.url or catalogue.url
    margin = 0.01  # degrees, so that slope is known to the edge
    with _told(url):
        client = Client.open(url, timeout=TIMEOUT)
        items = _each_once(
            client.search(collections=[str(catalogue.terrain)], bbox=box, max_items=MOST_TILES)
            for box in wanted.boxes(margin)
        )
    if len(items) >= MOST_TILES:
        raise LandslideError("the area needs a hundred tiles of the terrain model or more; search it in parts")
    if not items:
        warn(f"{url}: has no terrain model there; name one with map --dem")
    return [terrain_address(item) for item in items]


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Raise ``LandslideError`` where a catalogue does not answer, or not as one."""
    try:
        yield
    except _NO_CATALOGUE as error:
        raise LandslideError(f"{url}: the catalogue cannot be asked ({first_line(error)[:300]})") from None


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """Follows no answer to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _metadata(place: str, hosts: frozenset[str]) -> Element:
    """A product's metadata from an https address of an allowed host."""
    source = href(place, hosts)
    if not place.startswith("https://"):
        raise LandslideError(f"{source}: the product's metadata must be had by https")
    try:
        with urllib.request.build_opener(_Nowhere).open(signed(place), timeout=TIMEOUT) as answer:
            content = answer.read(TEXT_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise LandslideError(f"{source}: the product's metadata cannot be had ({first_line(error)})") from None
    if len(content) > TEXT_BYTES:
        raise LandslideError(f"{source}: has more than {TEXT_BYTES:,} bytes")
    return parse_xml(content.decode(errors="replace"), str(source))
