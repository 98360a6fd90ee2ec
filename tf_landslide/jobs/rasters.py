"""A scene's probability and mask, predicted by this process or by workers, and gone on with where a run stopped."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra
from tf_landslide.core.files import require_space, sweep
from tf_landslide.core.locks import locked
from tf_landslide.core.progress import progress
from tf_landslide.jobs.map_options import Watch, unwatched
from tf_landslide.predict.predictor import Predictor
from tf_landslide.scenes.blocks import Block, Tiling
from tf_landslide.scenes.identity import Identity, identity_of
from tf_landslide.scenes.mapper import Finished, Mapping, batch_of, predicted_here, rows_of, unsure_rows_of
from tf_landslide.scenes.opened import closed_afterwards
from tf_landslide.scenes.parts import Parts, parts_folder, parts_under
from tf_landslide.scenes.scene import Scene
from tf_landslide.scenes.writer import (
    MASK,
    PROBABILITY,
    bytes_needed,
    write_rasters,
    write_uncertainty,
)

GDAL_CACHE = 2**25  # bytes; by itself GDAL takes a twentieth of the memory, the more the larger a scene is
MUCH = 1e9  # bytes of disk, from which on it is said what is needed


@dataclass(frozen=True)
class Workers:
    """Who predicts, where it is not this process.

    Attributes:
        model: what they load: a folder that they find at the same place, or a server's address.
        number: of processes on this machine.
        scheduler: or the address of a Dask scheduler that has workers of its own.
    """

    model: str
    number: int | None = None
    scheduler: str | None = None


@contextmanager
def map_folder(out: Path) -> Iterator[None]:
    """Keep other processes out of a map's folder, and GDAL's cache small; parts go where all has gone well.

    The scene's files that this thread has read are closed in any case.

    Raises:
        LandslideError: another process writes to the folder, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise LandslideError(f"{out}: is a file; name a folder for the map")
    with locked(out), rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), closed_afterwards():
        sweep(out)
        yield
        for folder in parts_under(out):  # of other settings too: the map is there
            shutil.rmtree(folder, ignore_errors=True)


def map_rasters(
    scene: Scene,
    predictor: Predictor,
    out: Path,
    cut: Tiling,
    *,
    threshold: float,
    tags: dict[str, str],
    names: tuple[str, str] = (PROBABILITY, MASK),
    unsure: str | None = None,
    workers: Workers | None = None,
    watch: Watch = unwatched,
    first: Callable[[], None] | None = None,
) -> tuple[Path, Path]:
    """Write the probability and the network's mask, and how sure the model is; each appears whole or not at all.

    Blocks that an earlier run of the same files, model and settings has left are taken over.

    Args:
        scene: to map.
        predictor: the model.
        out: folder for the map, within ``map_folder``.
        cut: how the scene is cut.
        threshold: of the mask.
        tags: kept in all files.
        names: of the files.
        unsure: of what the uncertainty is told, kept in its file; None writes none.
        workers: who predict, if not this process.
        watch: told after each block.
        first: is done when the first two are whole, before they appear.

    Raises:
        LandslideError: a block that cannot be read or predicted, by its place; a file that has changed meanwhile; too
            little disk.
    """
    identity = identity_of(predictor)
    mapping = Mapping(scene, predictor, cut, batch_of(predictor, cut), unsure is not None)
    parts = Parts(parts_folder(out, _settings(mapping, identity)), cut, mapping.maps)
    blocks = parts.missing()

    def whole() -> None:
        scene.require_unchanged()  # workers, who may have copies of its files, cannot tell
        if first is not None:
            first()

    needed = sum(map(parts.nbytes, blocks)) + bytes_needed(scene.grid, mapping.unsure)
    require_space(out, needed, "this map")
    if needed > MUCH:
        print(f"{len(blocks)} blocks to predict; {needed / 1e9:.1f} GB of disk at most", file=sys.stderr)
    with _predicted(mapping, blocks, identity, workers) as finished:
        shown = progress(_watched(finished, len(blocks), watch), total=len(blocks), label="mapping", unit="block")
        paths = write_rasters(out, scene.grid, rows_of(parts, scene.grid.shape, shown), threshold, tags, names, whole)
    if unsure is not None:
        rows = unsure_rows_of(parts, scene.grid.shape)
        write_uncertainty(out, scene.grid, rows, tags | {"uncertainty_of": unsure})
    return paths


def _watched(finished: Finished, total: int, watch: Watch) -> Finished:
    watch("blocks", 0, total)
    for done, block in enumerate(finished, 1):
        watch("blocks", done, total)  # before it is taken: nobody comes back after the last one
        yield block


@contextmanager
def _predicted(
    mapping: Mapping, blocks: Sequence[Block], identity: Identity, workers: Workers | None
) -> Iterator[Finished]:
    if workers is None:
        with predicted_here(mapping, blocks) as finished:
            yield finished
        return
    with extra("scale"):
        from tf_landslide.scenes.cluster import job_of, predicted_by  # Dask, optional
    job = job_of(workers.model, mapping, identity)
    with predicted_by(job, blocks, workers.number, workers.scheduler) as finished:
        yield finished


def _settings(mapping: Mapping, identity: Identity) -> dict[str, Any]:
    """All that a block's result depends on, but for the CPU."""
    scene, card = mapping.scene.fingerprint(), json.loads(mapping.predictor.card.as_json())
    return {"scene": scene, "card": card, "tiling": str(mapping.tiling), "maps": mapping.maps, **identity.settings}
