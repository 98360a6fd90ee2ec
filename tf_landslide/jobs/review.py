"""A folder of polygons, reviewed: the pictures made ready, the page shown, decisions exported and compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.locks import locked
from tf_landslide.objects.pair import require_overlap, require_visible
from tf_landslide.objects.review.agreement import Agreement
from tf_landslide.objects.review.export import export
from tf_landslide.objects.review.pictures import AFTER, BEFORE, find_pictures, scene_reader, write_pictures
from tf_landslide.objects.review.polygons import Polygons, find_polygons
from tf_landslide.objects.review.session import (
    Session,
    compare,
    count,
    decisions_of,
    review_folder,
    reviewers,
    session,
)
from tf_landslide.page.review.app import serve
from tf_landslide.scenes.inputs import Inputs, open_inputs


def open_polygons(folder: Path, named: str | None = None) -> Polygons:
    """The polygons that are reviewed in a folder, on the grid of its pictures where there are any.

    Raises:
        LandslideError: no such file, or one that cannot be read; pictures that cannot.
    """
    path = find_polygons(folder, named)
    grids = [picture.grid for picture in find_pictures(folder).values()]
    return Polygons.read(path, grids[0] if grids else None)


def make_pictures(folder: Path, before: Inputs | None, after: Inputs | None) -> list[Path]:
    """Write a folder's pictures from scenes, as ``map`` takes them; the earlier one is sampled to the later one's grid.

    Args:
        folder: of the review.
        before, after: the scenes; None for no picture.

    Raises:
        LandslideError: no such scene, one without red, green and blue, or two that do not overlap.
    """
    given = {when: inputs for when, inputs in ((BEFORE, before), (AFTER, after)) if inputs}
    scenes = {when: open_inputs(inputs, None) for when, inputs in given.items()}
    if not scenes:
        return []
    for scene in scenes.values():
        require_visible(scene)
    if len(scenes) == 2:
        require_overlap(scenes[BEFORE], scenes[AFTER])
    grid = (scenes.get(AFTER) or scenes[BEFORE]).grid
    before_reader, after_reader = (
        scene_reader(scenes[when], grid) if when in scenes else None for when in (BEFORE, AFTER)
    )
    with locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return write_pictures(folder, before_reader, after_reader, grid)


@contextmanager
def opened(folder: Path, reviewer: str, polygons: Polygons) -> Iterator[Session]:
    """A review in a folder; see ``session.session``."""
    with session(folder, polygons, find_pictures(folder), reviewer) as review:
        yield review


def review_page(folder: Path, polygons: Polygons, reviewer: str, host: str, port: int, allowed: Iterable[str]) -> None:
    """Show the page until it is ended, then export what was decided.

    Raises:
        LandslideError: as ``session.session`` and ``page.review.app.start``.
    """
    with opened(folder, reviewer, polygons) as review:
        try:
            serve(review, host, port, allowed)
        finally:
            written = review.export() if review.journal.decisions.sequence else []
            told = ", ".join(f"{number} {status}" for status, number in review.counts().items())
            print("; ".join([told, *map(str, written)]), flush=True)


def export_reviews(folder: Path, polygons: Polygons, names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Export the decisions of some reviewers, or of all. Returns counts and files by reviewer."""
    told: dict[str, dict[str, object]] = {}
    for name in names or _some(folder):
        decisions = decisions_of(folder, name, polygons)
        files = export(review_folder(folder, name), polygons, decisions, name)
        told[name] = {"counts": dict(count(polygons, decisions)), "files": [str(path) for path in files]}
    return told


def agreements(folder: Path, polygons: Polygons, names: Sequence[str]) -> list[Agreement]:
    """How reviewers agree, two by two: those that are named, or all.

    Raises:
        LandslideError: fewer than two.
    """
    chosen = list(dict.fromkeys(names)) or _some(folder)
    if len(chosen) < 2:
        raise LandslideError(
            f"{folder}: {', '.join(chosen)} has reviewed it alone; agreement needs two, each with --reviewer NAME"
        )
    return [compare(folder, polygons, a, b) for a, b in combinations(chosen, 2)]


def _some(folder: Path) -> list[str]:
    found = reviewers(folder)
    if not found:
        raise LandslideError(
            f"{folder}: nobody has reviewed it yet; begin with tf-landslide review {folder} --reviewer NAME"
        )
    return found
