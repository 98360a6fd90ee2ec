"""The page itself: Gradio's components, and what happens on each click; the modules beside it do the work."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from tf_landslide.errors import LandslideError
from tf_landslide.page import views
from tf_landslide.page.analysis import COLUMNS, Analysis, analyse, sentence, status, table, write_downloads
from tf_landslide.page.library import Library
from tf_landslide.page.uploads import read_uploads

UPLOAD_LIMIT = "64mb"
FILES = 32  # in one go
WAITING = 64  # requests in the queue; one more is told to come again
CSS = """
.gradio-container {max-width: 1600px !important}
.pixels img {image-rendering: pixelated}
.pixels, .pixels .grid-wrap {height: auto !important; min-height: 0 !important; max-height: none !important}
.pixels .gallery-container {height: auto !important; min-height: 0 !important}
@media (max-width: 640px) {.pixels .grid-container {grid-template-columns: repeat(2, 1fr) !important}}
"""


def build(library: Library, folder: Path):
    """The page.

    Args:
        library: the models it offers.
        folder: for the files it writes, removed by the caller.
    """

    def run(images, masks, model, opacity, progress=gr.Progress()):  # noqa: B008 (how Gradio injects it)
        return finish(images, masks, [model] if model else [], opacity, progress)

    def run_all(images, masks, opacity, progress=gr.Progress()):  # noqa: B008 (how Gradio injects it)
        return finish(images, masks, library.names, opacity, progress)

    def finish(images, masks, models, opacity, progress):
        if not images:
            return told(Analysis(problems=["Choose one or more .h5 patches first, or take the sample patch."]), opacity)
        if len(images) > FILES:
            return told(
                Analysis(problems=[f"{len(images)} files are too many for one go; choose {FILES} at most."]), opacity
            )
        uploads, problems = read_uploads(images, masks or [])
        analysis = analyse(library, uploads, models, progress)
        analysis.problems = problems + analysis.problems
        return told(analysis, opacity)

    def told(analysis: Analysis, opacity: float):
        """The whole page after a run: which patch and model are shown, and everything about them."""
        shown = [i for i, results in enumerate(analysis.results) if results]
        patches = [(analysis.uploads[i].name, i) for i in shown]
        models = list(analysis.results[shown[0]]) if shown else []
        patch, model = (shown[0], models[0]) if shown else (None, None)
        return (
            analysis,
            None,
            status(analysis),
            gr.Dropdown(choices=patches, value=patch, visible=len(patches) > 1),
            gr.Dropdown(choices=models, value=model, visible=len(models) > 1),
            gr.Slider(value=analysis.results[patch][model].card.threshold if shown else 0.5, interactive=bool(shown)),
            gr.Column(visible=bool(shown)),
            gr.Column(visible=len(models) > 1),
            gr.Files(value=None, visible=False),
            *look(analysis, patch, model, None, opacity),
        )

    def look(analysis: Analysis, patch, model, threshold, opacity):
        """Every picture and number of one patch and model; runs no model."""
        if not analysis or patch is None or model not in analysis.results[patch]:
            return (None,) * 7
        upload, results = analysis.uploads[patch], analysis.results[patch]
        result = results[model]
        return (
            views.before_and_after(upload, result.mask(threshold), opacity),
            views.prediction(upload, result.probability, result.mask(threshold)),
            views.inputs(upload),
            table(upload, results, threshold),
            views.comparison(upload, results, threshold, opacity) if len(results) > 1 else None,
            library.details(model),
            sentence(upload, result, threshold),
        )

    def other(analysis, patch, model, opacity):
        """Another patch or model is chosen: shown from its model's own threshold again."""
        if analysis and patch is not None and model not in analysis.results[patch]:
            model = next(iter(analysis.results[patch]))
        own = analysis.results[patch][model].card.threshold if analysis and patch is not None else 0.5
        return None, own, *look(analysis, patch, model, None, opacity)

    def downloads(analysis, threshold):
        if not analysis or not any(analysis.results):
            raise gr.Error("Run a model first.")
        for old in folder.glob("download-*"):
            if time.time() - old.stat().st_mtime > 3600:
                shutil.rmtree(old, ignore_errors=True)
        archive, files = write_downloads(analysis, folder / f"download-{uuid.uuid4().hex[:8]}", threshold)
        return gr.Files(value=[str(archive), *map(str, files)], visible=True)

    def sample():
        """A patch and mask of the synthetic sample landscape, written when first asked for."""
        from tf_landslide.data.synthetic import write_sample

        target = folder / "sample"
        if not target.exists():
            write_sample(target, train=1, valid=1, test=3, seed=0)
        number = 2
        return [str(target / f"TestData/img/image_{number}.h5")], [str(target / f"TestData/mask/mask_{number}.h5")]

    first = library.names[0] if library.names else None
    with gr.Blocks(title="tf_landslide", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        analysis = gr.State(time_to_live=3600)
        moved = gr.State()  # the threshold, once the user has moved it
        gr.Markdown("# Landslides in satellite patches\nUpload `.h5` patches, choose a model, look, compare, download.")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                images = gr.Files(label="Patches (.h5)", file_types=[".h5"], elem_id="images", height=140)
                masks = gr.Files(label="Masks (.h5), if there are any", file_types=[".h5"], elem_id="masks", height=120)
                take = gr.Button("Take a sample patch (synthetic)", size="sm", elem_id="sample")
                chosen = gr.Dropdown(library.names, value=first, label="Model", elem_id="model")
                with gr.Row():
                    one = gr.Button("Run", variant="primary", elem_id="run", min_width=100)
                    every = gr.Button("Run all models", elem_id="run-all", min_width=100)
                with gr.Accordion("About the model", open=False):
                    about = gr.Markdown(elem_id="about")
                note = gr.Markdown(elem_id="status")
            with gr.Column(scale=3, min_width=300), gr.Column(visible=False) as shown:
                with gr.Row():
                    patch = gr.Dropdown(label="Patch shown", elem_id="patch", visible=False)
                    model = gr.Dropdown(label="Model shown", elem_id="shown-model", visible=False)
                words = gr.Markdown(elem_id="words")
                with gr.Row():
                    threshold = gr.Slider(0, 1, 0.5, step=0.001, label="Threshold", elem_id="threshold", min_width=200)
                    opacity = gr.Slider(
                        0, 1, 0.45, step=0.05, label="Overlay's opacity", elem_id="opacity", min_width=200
                    )
                with gr.Row():
                    slider = gr.ImageSlider(
                        label="Image and overlay: drag the line",
                        elem_id="before-after",
                        elem_classes="pixels",
                        format="png",
                        interactive=False,
                        max_height=560,
                    )
                    results = gr.Gallery(
                        label="Prediction",
                        columns=2,
                        height="auto",
                        object_fit="contain",
                        elem_id="results",
                        elem_classes="pixels",
                        format="png",
                        interactive=False,
                        min_width=280,
                    )
                numbers = gr.Dataframe(
                    headers=COLUMNS,
                    label="Summary",
                    interactive=False,
                    wrap=True,
                    elem_id="numbers",
                )
                with gr.Column(visible=False) as comparison:
                    compared = gr.Gallery(
                        label="All models",
                        columns=4,
                        height="auto",
                        object_fit="contain",
                        elem_id="compared",
                        elem_classes="pixels",
                        format="png",
                        interactive=False,
                    )
                inputs = gr.Gallery(
                    label="What the model sees",
                    columns=4,
                    height="auto",
                    object_fit="contain",
                    elem_id="inputs",
                    elem_classes="pixels",
                    format="png",
                    interactive=False,
                )
                prepare = gr.Button("Prepare downloads", elem_id="prepare")
                files = gr.Files(label="Downloads", visible=False, interactive=False, elem_id="downloads")

        seen = [slider, results, inputs, numbers, compared, about, words]
        whole = [analysis, moved, note, patch, model, threshold, shown, comparison, files, *seen]
        one.click(run, [images, masks, chosen, opacity], whole, concurrency_id="models", api_name="run")
        every.click(run_all, [images, masks, opacity], whole, concurrency_id="models", api_name="run_all")
        quick = {"show_progress": "hidden", "trigger_mode": "always_last", "concurrency_limit": 4}
        threshold.input(lambda value: value, threshold, moved, **quick).then(
            look, [analysis, patch, model, moved, opacity], seen, **quick
        )
        opacity.input(look, [analysis, patch, model, moved, opacity], seen, **quick)
        for selector in (patch, model):
            selector.input(other, [analysis, patch, model, opacity], [moved, threshold, *seen], **quick)
        chosen.change(lambda name: library.details(name) if name else "", chosen, about, **quick)
        page.load(lambda: library.details(first) if first else "", None, about, **quick)
        prepare.click(downloads, [analysis, moved], files)
        take.click(sample, None, [images, masks])
    page.queue(max_size=WAITING, default_concurrency_limit=2)
    return page


def launch(library: Library, host: str = "127.0.0.1", port: int = 7860, *, block: bool = True):
    """Show the page until interrupted; everything it writes is in a temporary folder that goes with it.

    Raises:
        LandslideError: a port that is taken.
    """
    folder = Path(tempfile.mkdtemp(prefix="tf_landslide_page_"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    system = ["system-ui", "sans-serif"]  # fonts of the machine: the page asks no other host for anything
    theme = gr.themes.Default(font=system, font_mono=["ui-monospace", "monospace"])
    page = build(library, folder)
    try:
        page.launch(
            server_name=host,
            server_port=port or None,
            theme=theme,
            css=CSS,
            quiet=True,
            share=False,
            max_file_size=UPLOAD_LIMIT,
            state_session_capacity=100,
            prevent_thread_lock=True,
            footer_links=[],
            ssr_mode=False,
            show_error=True,
        )
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise LandslideError(f"port {port} of {host} is taken; choose another with --port") from None
    page.folder = folder
    if block:
        print(f"the page is at {page.local_url}", flush=True)
        try:
            page.block_thread()
        finally:
            close(page)
    return page


def close(page) -> None:
    """Stop the page and remove what it wrote."""
    page.close(verbose=False)
    shutil.rmtree(page.folder, ignore_errors=True)
