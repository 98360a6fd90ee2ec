"""What is where on the page's tab for scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from tf_landslide.page.components import refine_box, rules_file

WINDOWS = (128, 256, 512)
HINT = """
A GeoTIFF whose bands are named by their descriptions (`red`, `green`, `blue`, `nir` …), or say which is which:
`red=3,green=2,blue=1,nir=4`. At most 4 million pixels; `tf-landslide map` takes any size.
"""


@dataclass(frozen=True)
class SceneTab:
    """Everything on the tab that is read, changed or clicked."""

    key: gr.BrowserState  # of the run, in ``SceneRuns``; the browser keeps it over a reload
    clock: gr.Timer  # asks how far the run is
    scene: gr.File
    dem: gr.File
    model: gr.Dropdown
    bands: gr.Textbox
    smooth: gr.Checkbox
    refine: gr.Checkbox
    rules: gr.File
    area: gr.Number
    window: gr.Dropdown
    scale: gr.Textbox
    offset: gr.Textbox
    nodata: gr.Textbox
    run: gr.Button
    bar: gr.HTML
    cancel: gr.Button
    note: gr.Markdown
    map: gr.HTML
    files: gr.Files

    @property
    def asked(self) -> list[Any]:
        """What is mapped, and how."""
        return [
            *(self.scene, self.dem, self.model, self.bands, self.smooth, self.refine, self.rules),
            *(self.area, self.window, self.scale, self.offset, self.nodata, self.key),
        ]

    @property
    def told(self) -> list[Any]:
        """What changes with the run."""
        return [self.key, self.clock, self.run, self.bar, self.cancel, self.note, self.map, self.files]


def remembered() -> tuple[gr.BrowserState, gr.Timer]:
    """The run's key and the clock that asks for it. Outside of tabs: Gradio reads those when opened."""
    return gr.BrowserState(storage_key="tf_landslide_scene"), gr.Timer(1, active=False)


def scene_layout(key: gr.BrowserState, clock: gr.Timer) -> SceneTab:
    """Lay the tab out, within ``gr.Tab``; which models there are is told when the page is loaded."""
    tiff = [".tif", ".tiff"]
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            scene = gr.File(label="Scene (GeoTIFF)", file_types=tiff, elem_id="scene", height=120)
            dem = gr.File(label="Terrain model (GeoTIFF, metres)", file_types=tiff, elem_id="dem", height=120)
            model = gr.Dropdown([], label="Model", elem_id="scene-model")
            bands = gr.Textbox(label="Bands, where the file does not name them", elem_id="scene-bands", max_lines=1)
            smooth = gr.Checkbox(True, label="Smooth outlines; areas stay", elem_id="scene-smooth")
            refine, rules = refine_box("scene-refine"), rules_file("scene-rules")
            with gr.Accordion("Advanced", open=False, elem_id="scene-advanced"):
                area = gr.Number(500, label="Smallest landslide (m²)", minimum=0, elem_id="scene-area")
                window = gr.Dropdown(list(WINDOWS), value=256, label="Window (pixels)", elem_id="scene-window")
                with gr.Row():
                    scale = _number("Scale", "the file's, else 0.0001")
                    offset = _number("Offset", "the file's, else 0")
                    nodata = _number("No-data", "the file's own alone", "0")
                gr.Markdown("Physical value = stored × scale + offset; no-data is asked before.")
            run = gr.Button("Map", variant="primary", elem_id="scene-run")
            bar = gr.HTML(elem_id="scene-progress", visible=False)
            cancel = gr.Button("Cancel", visible=False, elem_id="scene-cancel")
            note = gr.Markdown(HINT, elem_id="scene-status", latex_delimiters=[])
        with gr.Column(scale=3, min_width=300):
            shown = gr.HTML(elem_id="scene-map")
            files = gr.Files(label="Downloads", visible=False, interactive=False, elem_id="scene-downloads")
    return SceneTab(
        *(key, clock, scene, dem, model, bands, smooth, refine, rules, area, window, scale, offset, nodata),
        *(run, bar, cancel, note, shown, files),
    )


def _number(label: str, without: str, value: str = "") -> gr.Textbox:
    name = f"scene-{label.lower()}"
    return gr.Textbox(value, label=label, placeholder=without, elem_id=name, max_lines=1, min_width=90)
