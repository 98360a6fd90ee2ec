"""What is where on the page: Gradio's components and their layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from tf_landslide.page.tables import COLUMNS, PATCH_COLUMNS, TOTAL_COLUMNS
from tf_landslide.page.views import Pictures

STEPS = """
## Three steps

1. **Choose patches**: one or many `.h5` files, and their masks if there are any. Or take the sample patch.
2. **Run** the chosen model, or all of them.
3. **Look and take away**: move the threshold, compare, download masks, probabilities and tables.
"""
OFFER = """
**There is no model yet**: none in `models` or `demo/models`, where the page looks unless `--models` names a folder.

The demo's model can be made now, in about three minutes: a small U-Net, trained on a **synthetic** landscape. It shows
what the page does and says nothing about real landslides.
"""


@dataclass(frozen=True)
class Components:
    """Everything on the page that is read, changed or clicked."""

    key: gr.BrowserState  # of the results that are shown, in the page's store; the browser keeps it over a reload
    moved: gr.State  # the threshold, once the user has moved it
    images: gr.Files
    masks: gr.Files
    take: gr.Button
    chosen: gr.Dropdown
    refine: gr.Checkbox
    rules: gr.File
    one: gr.Button
    every: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    note: gr.Markdown
    about: gr.Markdown
    empty: gr.Column
    offer: gr.Column
    make: gr.Button
    making: gr.HTML
    clock: gr.Timer
    shown: gr.Column
    patch: gr.Dropdown
    model: gr.Dropdown
    words: gr.Markdown
    threshold: gr.Slider
    opacity: gr.Slider
    before_after: gr.ImageSlider
    results: gr.Gallery
    numbers: gr.Dataframe
    overall: gr.Column
    totals: gr.Dataframe
    patches: gr.Dataframe
    comparison: gr.Column
    compared: gr.Gallery
    inputs: gr.Gallery
    prepare: gr.Button
    files: gr.Files

    @property
    def seen(self) -> list[Any]:
        """What shows one patch and model."""
        return [
            *(self.note, self.before_after, self.results, self.inputs, self.numbers, self.totals, self.patches),
            *(self.compared, self.about, self.words),
        ]

    @property
    def whole(self) -> list[Any]:
        """What a run changes."""
        return [
            *(self.key, self.moved, self.patch, self.model, self.threshold, self.empty, self.shown, self.overall),
            *(self.comparison, self.files, *self.seen),
        ]

    @property
    def busy(self) -> list[Any]:
        """What says that a run is going on, and what would begin another."""
        return [self.one, self.every, self.refine, self.rules, self.cancel, self.progress]

    @property
    def offered(self) -> list[Any]:
        """What depends on which models there are."""
        return [self.chosen, self.one, self.every, self.offer, self.make, self.making, self.clock]


def layout(example: Pictures, models: list[str]) -> Components:
    """Lay the page out, within ``gr.Blocks``; ``models`` can be chosen."""
    parts: dict[str, Any] = {
        "key": gr.BrowserState(storage_key="tf_landslide_results"),
        "moved": gr.State(),
        "clock": gr.Timer(1, active=False),
    }
    gr.Markdown("# Landslides in satellite patches\nUpload `.h5` patches, choose a model, look, compare, download.")
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            parts |= _asking(models)
        with gr.Column(scale=3, min_width=300):
            parts |= _offering(example)
            with gr.Column(visible=False) as shown:
                parts |= {"shown": shown, **_choosing(), **_showing()}
            with gr.Accordion("About the model", open=False):
                parts["about"] = gr.Markdown(elem_id="about", latex_delimiters=[])
    return Components(**parts)


def _asking(models: list[str]) -> dict[str, Any]:
    """The left side: files, models, buttons, what is said."""
    parts = {
        "images": gr.Files(label="Patches (.h5)", file_types=[".h5"], elem_id="images", height=150),
        "masks": gr.Files(label="Masks (.h5), if there are any", file_types=[".h5"], elem_id="masks", height=150),
        "take": gr.Button("Take a sample patch (synthetic)", size="sm", elem_id="sample"),
        "chosen": gr.Dropdown(models, value=models[0] if models else None, label="Model", elem_id="model"),
        "refine": refine_box("refine"),
        "rules": rules_file("rules"),
    }
    with gr.Row():
        parts["one"] = gr.Button("Run", variant="primary", elem_id="run", size="md", min_width=100)
        parts["every"] = gr.Button("Run all models", elem_id="run-all", size="md", min_width=100)
    parts["progress"] = gr.HTML(elem_id="progress", visible=False, min_height=90)
    parts["cancel"] = gr.Button("Cancel", elem_id="cancel", visible=False)
    parts["note"] = gr.Markdown(elem_id="status", latex_delimiters=[])
    return parts


def refine_box(name: str) -> gr.Checkbox:
    """The switch: whether masks are refined by rules."""
    return gr.Checkbox(False, label="Refine by rules", info="Masks are decided object by object", elem_id=name)


def rules_file(name: str) -> gr.File:
    """The rules, there while the switch is on."""
    label = "Rules (.yaml), else the shipped ones"
    return gr.File(label=label, file_types=[".yaml", ".yml"], elem_id=name, height=110, visible=False)


def _offering(example: Pictures) -> dict[str, Any]:
    """The right side until something was run."""
    with gr.Column(visible=False, elem_id="offer") as offer:
        gr.Markdown(OFFER)
        make = gr.Button("Make the demo's model", variant="primary", elem_id="make")
        making = gr.HTML(elem_id="making")
    with gr.Column(elem_id="empty") as empty:
        gr.Markdown(STEPS)
        _gallery("An example: the sample patch", "example", columns=4, value=example)
    return {"offer": offer, "make": make, "making": making, "empty": empty}


def _choosing() -> dict[str, Any]:
    """The results' head: which patch and model are shown, and how."""
    parts: dict[str, Any] = {}
    with gr.Row():
        parts["patch"] = gr.Dropdown(label="Patch shown", elem_id="patch", visible=False)
        parts["model"] = gr.Dropdown(label="Model shown", elem_id="shown-model", visible=False)
    parts["words"] = gr.Markdown(elem_id="words", latex_delimiters=[])
    with gr.Row():
        parts["threshold"] = gr.Slider(0, 1, 0.5, step=0.001, label="Threshold", elem_id="threshold", min_width=200)
        parts["opacity"] = gr.Slider(0, 1, 0.45, step=0.05, label="Overlay's opacity", elem_id="opacity", min_width=200)
    return parts


def _showing() -> dict[str, Any]:
    """The results' body: pictures, numbers, downloads."""
    parts: dict[str, Any] = {}
    with gr.Row():
        parts["before_after"] = gr.ImageSlider(
            label="Image and overlay: drag the line",
            elem_id="before-after",
            elem_classes="pixels",
            format="png",
            interactive=False,
            max_height=560,
        )
        parts["results"] = _gallery("Prediction", "results", columns=2, min_width=280)
    parts["numbers"] = _table(COLUMNS, "This patch", "numbers")
    with gr.Column(visible=False) as comparison:
        parts["compared"] = _gallery("All models", "compared", columns=4)
    parts["comparison"] = comparison
    with gr.Column(visible=False) as overall:
        parts["totals"] = _table(
            TOTAL_COLUMNS, "All patches together: areas added, scores of all their pixels", "totals"
        )
        with gr.Accordion("Every patch", open=False):
            parts["patches"] = _table(PATCH_COLUMNS, "Every patch", "patches", max_height=480)
    parts["overall"] = overall
    parts["inputs"] = _gallery("What the model sees", "inputs", columns=4)
    parts["prepare"] = gr.Button("Prepare downloads", elem_id="prepare")
    parts["files"] = gr.Files(label="Downloads", visible=False, interactive=False, elem_id="downloads")
    return parts


def _table(columns: tuple[str, ...], label: str, name: str, **options: Any) -> gr.Dataframe:
    return gr.Dataframe(
        headers=list(columns),
        datatype="str",
        label=label,
        interactive=False,
        elem_id=name,
        elem_classes="table",
        **options,
    )


def _gallery(label: str, name: str, **options: Any) -> gr.Gallery:
    return gr.Gallery(
        label=label,
        elem_id=name,
        elem_classes="pixels",
        height="auto",
        object_fit="contain",
        format="png",
        interactive=False,
        **options,
    )
