"""What is where on the page: Gradio's components and their layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from tf_landslide.page.analysis import COLUMNS


@dataclass(frozen=True)
class Components:
    """Everything on the page that is read, changed or clicked."""

    analysis: gr.State
    moved: gr.State  # the threshold, once the user has moved it
    images: gr.Files
    masks: gr.Files
    take: gr.Button
    chosen: gr.Dropdown
    one: gr.Button
    every: gr.Button
    about: gr.Markdown
    note: gr.Markdown
    shown: gr.Column
    patch: gr.Dropdown
    model: gr.Dropdown
    words: gr.Markdown
    threshold: gr.Slider
    opacity: gr.Slider
    before_after: gr.ImageSlider
    results: gr.Gallery
    numbers: gr.Dataframe
    comparison: gr.Column
    compared: gr.Gallery
    inputs: gr.Gallery
    prepare: gr.Button
    files: gr.Files

    @property
    def seen(self) -> list[Any]:
        """What shows one patch and model."""
        return [
            *(self.before_after, self.results, self.inputs, self.numbers, self.compared, self.about, self.words),
        ]

    @property
    def whole(self) -> list[Any]:
        """What a run changes."""
        return [
            *(self.analysis, self.moved, self.note, self.patch, self.model, self.threshold, self.shown),
            *(self.comparison, self.files, *self.seen),
        ]


def layout(models: list[str]) -> Components:
    """Lay the page out, within ``gr.Blocks``; ``models`` can be chosen."""
    parts: dict[str, Any] = {"analysis": gr.State(time_to_live=3600), "moved": gr.State()}
    gr.Markdown("# Landslides in satellite patches\nUpload `.h5` patches, choose a model, look, compare, download.")
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            parts |= _asking(models)
        with gr.Column(scale=3, min_width=300), gr.Column(visible=False) as shown:
            parts |= {"shown": shown, **_choosing(), **_showing()}
    return Components(**parts)


def _asking(models: list[str]) -> dict[str, Any]:
    """The left side: files, models, buttons, what is said."""
    parts = {
        "images": gr.Files(label="Patches (.h5)", file_types=[".h5"], elem_id="images", height=140),
        "masks": gr.Files(label="Masks (.h5), if there are any", file_types=[".h5"], elem_id="masks", height=120),
        "take": gr.Button("Take a sample patch (synthetic)", size="sm", elem_id="sample"),
        "chosen": gr.Dropdown(models, value=models[0] if models else None, label="Model", elem_id="model"),
    }
    with gr.Row():
        parts["one"] = gr.Button("Run", variant="primary", elem_id="run", min_width=100)
        parts["every"] = gr.Button("Run all models", elem_id="run-all", min_width=100)
    with gr.Accordion("About the model", open=False):
        parts["about"] = gr.Markdown(elem_id="about")
    parts["note"] = gr.Markdown(elem_id="status")
    return parts


def _choosing() -> dict[str, Any]:
    """The right side's head: which patch and model are shown, and how."""
    parts: dict[str, Any] = {}
    with gr.Row():
        parts["patch"] = gr.Dropdown(label="Patch shown", elem_id="patch", visible=False)
        parts["model"] = gr.Dropdown(label="Model shown", elem_id="shown-model", visible=False)
    parts["words"] = gr.Markdown(elem_id="words")
    with gr.Row():
        parts["threshold"] = gr.Slider(0, 1, 0.5, step=0.001, label="Threshold", elem_id="threshold", min_width=200)
        parts["opacity"] = gr.Slider(0, 1, 0.45, step=0.05, label="Overlay's opacity", elem_id="opacity", min_width=200)
    return parts


def _showing() -> dict[str, Any]:
    """The right side's body: pictures, numbers, downloads."""
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
    parts["numbers"] = gr.Dataframe(
        headers=list(COLUMNS), label="Summary", interactive=False, wrap=True, elem_id="numbers"
    )
    with gr.Column(visible=False) as comparison:
        parts["compared"] = _gallery("All models", "compared", columns=4)
    parts["comparison"] = comparison
    parts["inputs"] = _gallery("What the model sees", "inputs", columns=4)
    parts["prepare"] = gr.Button("Prepare downloads", elem_id="prepare")
    parts["files"] = gr.Files(label="Downloads", visible=False, interactive=False, elem_id="downloads")
    return parts


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
