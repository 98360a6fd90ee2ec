"""The page's second tab: a GeoTIFF scene and its terrain model become a map to look at and files to take away.

What maps is handed in (``MapScene``): the page stands below the jobs. The map is shown in a sandboxed frame.
"""

from __future__ import annotations

import html
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.rules import Rules
from tf_landslide.page.library import Library
from tf_landslide.page.refining import read_rules
from tf_landslide.page.scene_runs import SceneRun, SceneRuns, Tell
from tf_landslide.page.scene_tab import SceneTab
from tf_landslide.page.text import literal
from tf_landslide.predict.predictor import Predictor

MOST_PIXELS = 2**22
"""Of a scene, and of its terrain model: what two cores map while somebody waits. The command line maps any size."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_ASIDE = ("map.html", "overview.png")  # shown, or for those who have no page
ARCHIVE = "map.zip"
GONE = "⚠ **This map is no longer kept: an hour has passed, or the page was started anew. Map again.**"
_STAGES = {"polygons": "describing the polygons", "pictures": "drawing the pictures"}


@dataclass(frozen=True)
class SceneRequest:
    """What somebody wants mapped.

    Attributes:
        scene: a stack.
        dem: its terrain model, None where the model needs none.
        bands: ``NAME=N,…``; empty takes the descriptions.
        minimum_area: of a polygon, in square metres.
        smooth: cut the corners of the polygons' pixels.
        rules: refine the mask by them; None leaves it as the network marks it.
        window: side of what the model is given, in pixels.
        scale, offset: of the optical bands, None takes what the file states.
        nodata: stored value where there is nothing, besides the file's own; None for no other.
    """

    scene: Path
    dem: Path | None
    bands: str
    minimum_area: float
    smooth: bool
    rules: Rules | None = None
    window: int = 256
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = 0.0


MapScene = Callable[[SceneRequest, Predictor, Path, Tell], dict[str, Any]]
"""Maps into a folder and tells how far it is; returns what its ``summary.json`` holds."""


Changes = dict[Any, Any]  # new values, or properties, by component


class SceneHandlers:
    """What is done on the tab's clicks.

    Args:
        library: the models.
        folder: for the files it writes.
        tab: that it changes.
        mapping: maps.
    """

    def __init__(self, library: Library, folder: Path, tab: SceneTab, mapping: MapScene):
        self.library, self.tab, self.mapping = library, tab, mapping
        self.runs = SceneRuns(folder)

    def connect(self, page: gr.Blocks) -> None:
        """Say what each click does."""
        t = self.tab
        own: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        t.refine.input(lambda wanted: gr.File(visible=wanted), t.refine, t.rules, queue=False, **own)
        t.run.click(self.start, t.asked, t.told, queue=False, **own)
        t.cancel.click(self.cancel, t.key, t.told, queue=False, **own)
        t.clock.tick(self.look, t.key, t.told, concurrency_limit=4, **own)
        page.load(self.arrive, t.key, [t.model, *t.told], **own)

    def arrive(self, key: str | None) -> Changes:
        """The models there are, and what this browser had mapped before a reload."""
        faults = self.library.faults()
        names = [name for name in self.library.names if name not in faults]
        return {self.tab.model: gr.Dropdown(choices=names, value=names[0] if names else None), **self.look(key)}

    def start(
        self, scene, dem, model, bands, smooth, refine, rules, area, window, scale, offset, nodata, key=None
    ) -> Changes:
        """Have mapped what was uploaded."""
        tab = self.tab
        try:
            if not scene:
                raise LandslideError("choose a GeoTIFF scene first")
            if not model:
                raise LandslideError("there is no model to map with yet")
            request = SceneRequest(
                scene=Path(scene),
                dem=Path(dem) if dem else None,
                bands=bands or "",
                minimum_area=float(area or 0),
                smooth=smooth,
                rules=read_rules(rules) if refine else None,
                window=int(window),
                scale=number_or_none(scale, "scale"),
                offset=number_or_none(offset, "offset"),
                nodata=number_or_none(nodata, "no-data"),
            )
            for path in filter(None, (request.scene, request.dem)):
                check_geotiff(path)
            key = self.runs.start(partial(self._work, request, model), instead_of=key)
        except (LandslideError, OSError) as error:
            text = _without_folder(str(error), scene, dem)
            return {tab.note: f"⚠ **{literal(text)}**"} | self._rest() | {tab.map: "", tab.files: _no_files()}
        return {tab.key: key, tab.map: "", tab.files: _no_files(), tab.note: ""} | self.look(key)

    def _work(self, request: SceneRequest, model: str, out: Path, tell: Tell) -> dict[str, Any]:
        try:
            summary = self.mapping(request, self.library.predictor(model), out, tell)
            write_archive(out)
            return summary
        except (LandslideError, OSError) as error:
            raise LandslideError(_without_folder(str(error), str(request.scene), str(request.dem or ""))) from None

    def look(self, key: str | None) -> Changes:
        """How far the run is, or what it has given; asked every second while it goes on."""
        tab, run = self.tab, self.runs.get(key)
        if run is None:
            return self._rest() | ({tab.key: None, tab.note: GONE} if key else {})
        if not run.over:
            return {
                tab.clock: gr.Timer(active=True),
                tab.run: gr.Button("Mapping …", interactive=False),
                tab.bar: gr.HTML(progress_bar(run, self.runs.ahead(key)), visible=True),
                tab.cancel: gr.Button("Cancelling …" if run.stop.is_set() else "Cancel", visible=True),
            }
        if run.state == "done":
            page = (run.out / "map.html").read_text(encoding="utf-8")
            files = gr.Files(value=[str(path) for path in downloads(run.out)], visible=True)
            return self._rest() | {tab.note: told(run.summary), tab.map: framed(page), tab.files: files}
        said = "Cancelled; nothing of it is kept." if run.state == "cancelled" else f"⚠ **{literal(run.said)}**"
        return self._rest() | {tab.note: said}

    def cancel(self, key: str | None) -> Changes:
        """Stop the run."""
        self.runs.cancel(key)
        return self.look(key)

    def stop(self) -> None:
        """Cancel all runs."""
        self.runs.stop()

    def _rest(self) -> Changes:
        """Nothing goes on."""
        tab = self.tab
        return {
            tab.clock: gr.Timer(active=False),
            tab.run: gr.Button("Map", interactive=True),
            tab.bar: gr.HTML("", visible=False),
            tab.cancel: gr.Button("Cancel", visible=False),
        }


def _no_files() -> gr.Files:
    return gr.Files(value=None, visible=False)


def number_or_none(text: str | None, name: str) -> float | None:
    """A number that somebody has typed, None where nothing was. Raises ``LandslideError`` for anything else."""
    text = (text or "").strip()
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.inf
    if value is not None and not math.isfinite(value):
        raise LandslideError(f"expected a number as {name}, got {text!r}")
    return value


def progress_bar(run: SceneRun, ahead: int) -> str:
    """How far a run is, as HTML."""
    if run.state == "waiting":
        said = f"Waiting: {ahead} map{'s' * (ahead != 1)} before this one, mapped one after the other."
        return f"<progress aria-label='waiting'></progress><p>{said}</p>"
    if run.stage in _STAGES:
        return f"<progress aria-label='mapping'></progress><p>All blocks mapped; {_STAGES[run.stage]} …</p>"
    if run.stage == "objects":
        going = run.done < run.total
        said = f"objects found in {run.done} of {run.total} tiles" if going else "describing the objects"
        value = f" max='1' value='{run.done / run.total:.3f}'" if going else ""
        return f"<progress{value} aria-label='mapping'></progress><p>All blocks mapped; {said} …</p>"
    left = f", about {_duration(run.left)} left" if run.left is not None else ""
    said = f"{run.done} of {run.total} blocks mapped{left}" if run.total else "Loading the model, reading the scene …"
    share = run.done / max(run.total, 1)
    return f"<progress max='1' value='{share:.3f}' aria-label='mapping'></progress><p>{said}</p>"


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


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


def write_archive(out: Path) -> None:
    """A ZIP of a map's files, beside them."""
    files = [path for path in sorted(out.iterdir()) if not path.name.startswith(".")]
    with zipfile.ZipFile(out / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in files:
            zipped.write(path, path.name)


def downloads(out: Path) -> list[Path]:
    """A map's files, the ZIP of all of them first."""
    files = [path for path in out.iterdir() if not path.name.startswith(".")]
    return sorted(files, key=lambda path: (path.name != ARCHIVE, path.name in _ASIDE, path.name))


def _without_folder(text: str, *paths: str | None) -> str:
    """A message that names uploads as their owner does, not where they lie here."""
    for path in filter(None, paths):
        text = text.replace(str(path), Path(path).name)
    return text
