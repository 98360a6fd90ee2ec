"""The page's second tab: a GeoTIFF scene and its terrain model become a map to look at and files to take away.

What maps is handed in (``MapScene``): the page stands below the jobs. The map is shown in a sandboxed frame.
"""

from __future__ import annotations

import html
import math
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from tf_landslide.core.errors import LandslideError
from tf_landslide.page.library import Library
from tf_landslide.page.text import literal
from tf_landslide.predict.predictor import Predictor

MOST_PIXELS = 2**22
"""Of a scene, and of its terrain model: what two cores map while somebody waits. The command line maps any size."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_ASIDE = ("map.html", "overview.png")  # shown, or for those who have no page
_KEPT = 3600.0  # seconds that a map's files stay
HINT = """
A GeoTIFF whose bands are named by their descriptions (`red`, `green`, `blue`, `nir` …), or say which is which:
`red=3,green=2,blue=1,nir=4`. At most 4 million pixels; `tf-landslide map` takes any size.
"""


@dataclass(frozen=True)
class SceneRequest:
    """What somebody wants mapped.

    Attributes:
        scene: a stack.
        dem: its terrain model, None where the model needs none.
        bands: ``NAME=N,…``; empty takes the descriptions.
        minimum_area: of a polygon, in square metres.
        smooth: cut the corners of the polygons' pixels.
    """

    scene: Path
    dem: Path | None
    bands: str
    minimum_area: float
    smooth: bool


MapScene = Callable[[SceneRequest, Predictor, Path], dict[str, Any]]
"""Maps into a folder; returns what its ``summary.json`` holds."""


@dataclass(frozen=True)
class SceneTab:
    """Everything on the tab that is read, changed or clicked."""

    scene: gr.File
    dem: gr.File
    model: gr.Dropdown
    bands: gr.Textbox
    area: gr.Number
    smooth: gr.Checkbox
    run: gr.Button
    note: gr.Markdown
    map: gr.HTML
    files: gr.Files


def scene_layout() -> SceneTab:
    """Lay the tab out, within ``gr.Tab``; which models there are is told when the page is loaded."""
    tiff = [".tif", ".tiff"]
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            scene = gr.File(label="Scene (GeoTIFF)", file_types=tiff, elem_id="scene", height=120)
            dem = gr.File(label="Terrain model (GeoTIFF, metres)", file_types=tiff, elem_id="dem", height=120)
            model = gr.Dropdown([], label="Model", elem_id="scene-model")
            bands = gr.Textbox(label="Bands, where the file does not name them", elem_id="scene-bands", max_lines=1)
            area = gr.Number(500, label="Smallest landslide (m²)", minimum=0, elem_id="scene-area")
            smooth = gr.Checkbox(True, label="Smooth outlines; areas stay", elem_id="scene-smooth")
            run = gr.Button("Map", variant="primary", elem_id="scene-run")
            note = gr.Markdown(HINT, elem_id="scene-status", latex_delimiters=[])
        with gr.Column(scale=3, min_width=300):
            shown = gr.HTML(elem_id="scene-map")
            files = gr.Files(label="Downloads", visible=False, interactive=False, elem_id="scene-downloads")
    return SceneTab(scene, dem, model, bands, area, smooth, run, note, shown, files)


class SceneHandlers:
    """What is done on the tab's clicks.

    Args:
        library: the models.
        folder: for the files it writes.
        tab: that it changes.
        mapping: maps.
    """

    def __init__(self, library: Library, folder: Path, tab: SceneTab, mapping: MapScene):
        self.library, self.folder, self.tab, self.mapping = library, folder, tab, mapping

    def connect(self, page: gr.Blocks) -> None:
        """Say what each click does."""
        t = self.tab
        own: dict[str, Any] = {"api_visibility": "private"}
        inputs = [t.scene, t.dem, t.model, t.bands, t.area, t.smooth]
        start = t.run.click(lambda: gr.Button("Mapping …", interactive=False), None, t.run, queue=False, **own)
        mapped = start.then(
            self.map, inputs, [t.note, t.map, t.files], concurrency_id="models", show_progress_on=t.map, **own
        )
        mapped.then(lambda: gr.Button("Map", interactive=True), None, t.run, queue=False, **own)
        page.load(self.arrive, None, t.model, show_progress="hidden", **own)

    def arrive(self) -> Any:
        """The models there are."""
        faults = self.library.faults()
        names = [name for name in self.library.names if name not in faults]
        return gr.Dropdown(choices=names, value=names[0] if names else None)

    def map(self, scene: str | None, dem: str | None, model: str | None, bands: str, area: float, smooth: bool) -> Any:
        """Map what was uploaded: what is said, the map, the files."""
        self._sweep()
        out = self.folder / f"scene-{uuid.uuid4().hex[:12]}"
        try:
            if not scene:
                raise LandslideError("choose a GeoTIFF scene first")
            if not model:
                raise LandslideError("there is no model to map with yet")
            request = SceneRequest(Path(scene), Path(dem) if dem else None, bands or "", float(area or 0), smooth)
            for path in filter(None, (request.scene, request.dem)):
                check_geotiff(path)
            summary = self.mapping(request, self.library.predictor(model), out)
        except (LandslideError, OSError) as error:
            shutil.rmtree(out, ignore_errors=True)
            return f"⚠ **{literal(_without_folder(str(error), scene, dem))}**", "", gr.Files(visible=False)
        page = (out / "map.html").read_text()
        return told(summary), framed(page), gr.Files(value=[str(path) for path in downloads(out)], visible=True)

    def _sweep(self) -> None:
        for old in self.folder.glob("scene-*"):
            if time.time() - old.stat().st_mtime > _KEPT:
                shutil.rmtree(old, ignore_errors=True)


def check_geotiff(path: Path) -> None:
    """Refuse what is no TIFF file (other formats can point to files and hosts), or too large for the page.

    Raises:
        LandslideError: either.
    """
    import rasterio  # optional

    with path.open("rb") as file:
        if not file.read(4).startswith(_TIFF):
            raise LandslideError(f"{path.name}: is no GeoTIFF")
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            pixels = math.prod(raster.shape)
    except rasterio.RasterioIOError:
        raise LandslideError(f"{path.name}: is a damaged GeoTIFF") from None
    if pixels > MOST_PIXELS:
        raise LandslideError(
            f"{path.name}: has {pixels:,} pixels, and the page takes {MOST_PIXELS:,}; map it by tf-landslide map"
        )


def framed(page: str) -> str:
    """A page in a frame that may run its own script and nothing else."""
    return (
        f'<iframe title="Map of landslides" sandbox="allow-scripts" srcdoc="{html.escape(page)}" '
        'style="width:100%;height:min(80vh,900px);border:1px solid #9ca3af;border-radius:6px"></iframe>'
    )


def told(summary: dict[str, Any]) -> str:
    """What a map says, in a sentence each, as Markdown."""
    rows, columns = summary["shape"]
    said = [
        f"✓ **{summary['landslides']:,} landslides, {summary['area_ha']:,.1f} ha**, threshold "
        f"{summary['threshold']:.3f}, on {100 * summary['valid_share']:.1f} % of {columns:,} × {rows:,} pixels."
    ]
    return "\n\n".join([*said, *(literal(warning) for warning in summary["warnings"])])


def downloads(out: Path) -> list[Path]:
    """A map's files, a ZIP of all of them first."""
    files = sorted((path for path in out.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)
    archive = out / "map.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in files:
            zipped.write(path, path.name)
    return [archive, *sorted(files, key=lambda path: (path.name in _ASIDE, path.name))]


def _without_folder(text: str, *paths: str | None) -> str:
    """A message that names uploads as their owner does, not where they lie here."""
    for path in filter(None, paths):
        text = text.replace(str(path), Path(path).name)
    return text
