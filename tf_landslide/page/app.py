"""The page itself: what happens on each click, and the server that shows it.

``components.layout`` says what is where, ``Handlers`` what is done (the modules beside this one do the work),
``connect`` on which click. A handler returns what changes, by component.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import gradio as gr

from tf_landslide.core.errors import LandslideError
from tf_landslide.data.folders import find_patches
from tf_landslide.data.synthetic import write_sample
from tf_landslide.page import views
from tf_landslide.page.analysis import Analysis, analyse, sentence, status, table, write_downloads
from tf_landslide.page.components import Components, layout
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
Changes = dict[Any, Any]  # new values, or properties, by component


class Handlers:
    """What is done on each click.

    Args:
        library: the models.
        folder: for the files it writes.
        components: that it changes.
    """

    def __init__(self, library: Library, folder: Path, components: Components):
        self.library, self.folder, self.on_page = library, folder, components

    def run(self, images, masks, model, opacity, progress=gr.Progress()):  # noqa: B008 (how Gradio injects it)
        return self._run(images, masks, [model] if model else [], opacity, progress)

    def run_all(self, images, masks, opacity, progress=gr.Progress()):  # noqa: B008 (how Gradio injects it)
        return self._run(images, masks, self.library.names, opacity, progress)

    def _run(self, images, masks, models: list[str], opacity: float, progress) -> Changes:
        if not images:
            return self._told(
                Analysis(problems=["Choose one or more .h5 patches first, or take the sample patch."]), opacity
            )
        if len(images) > FILES:
            said = f"{len(images)} files are too many for one go; choose {FILES} at most."
            return self._told(Analysis(problems=[said]), opacity)
        uploads, problems = read_uploads(images, masks or [], self.library.layouts(models))
        analysis = analyse(self.library, uploads, models, progress)
        analysis.problems = problems + analysis.problems
        return self._told(analysis, opacity)

    def _told(self, analysis: Analysis, opacity: float) -> Changes:
        """The whole page after a run: which patch and model are shown, and everything about them."""
        page = self.on_page
        having = [i for i, results in enumerate(analysis.results) if results]
        patches = [(analysis.uploads[i].name, i) for i in having]
        models = list(analysis.results[having[0]]) if having else []
        patch, model = (having[0], models[0]) if having else (None, None)
        own = analysis.results[having[0]][models[0]].threshold if having else 0.5
        return {
            page.analysis: analysis,
            page.moved: None,
            page.note: status(analysis),
            page.patch: gr.Dropdown(choices=patches, value=patch, visible=len(patches) > 1),
            page.model: gr.Dropdown(choices=models, value=model, visible=len(models) > 1),
            page.threshold: gr.Slider(value=own, interactive=bool(having)),
            page.shown: gr.Column(visible=bool(having)),
            page.comparison: gr.Column(visible=len(models) > 1),
            page.files: gr.Files(value=None, visible=False),
            **self.look(analysis, patch, model, None, opacity),
        }

    def look(self, analysis: Analysis, patch, model, threshold: float | None, opacity: float) -> Changes:
        """Every picture and number of one patch and model; runs no model."""
        page = self.on_page
        if not analysis or patch is None or model not in analysis.results[patch]:
            return dict.fromkeys(page.seen)
        upload, results = analysis.uploads[patch], analysis.at(patch, threshold)
        return {
            page.before_after: views.before_and_after(upload, results[model].mask(), opacity),
            page.results: views.prediction(upload, results[model]),
            page.inputs: views.inputs(upload),
            page.numbers: table(analysis, patch, threshold),
            page.compared: views.comparison(upload, results, opacity) if len(results) > 1 else None,
            page.about: self.library.details(model),
            page.words: sentence(analysis, patch, model, threshold),
        }

    def other(self, analysis: Analysis, patch, model, opacity: float) -> Changes:
        """Another patch or model is chosen: shown from its model's own threshold again."""
        if analysis and patch is not None and model not in analysis.results[patch]:
            model = next(iter(analysis.results[patch]))
        own = analysis.results[patch][model].threshold if analysis and patch is not None else 0.5
        page = self.on_page
        return {page.moved: None, page.threshold: own, **self.look(analysis, patch, model, None, opacity)}

    def downloads(self, analysis: Analysis, threshold: float | None) -> Changes:
        if not analysis or not any(analysis.results):
            raise gr.Error("Run a model first.")
        for old in self.folder.glob("download-*"):
            if time.time() - old.stat().st_mtime > 3600:
                shutil.rmtree(old, ignore_errors=True)
        archive, files = write_downloads(analysis, self.folder / f"download-{uuid.uuid4().hex[:8]}", threshold)
        return {self.on_page.files: gr.Files(value=[str(archive), *map(str, files)], visible=True)}

    def sample(self) -> Changes:
        """A patch and mask of the synthetic sample landscape, written when first asked for."""
        target = self.folder / "sample"
        if not target.exists():
            write_sample(target, train=1, valid=1, test=3, seed=0)
        patch = find_patches(target, "test")[1]
        return {self.on_page.images: [str(patch.image)], self.on_page.masks: [str(patch.mask)]}

    def details(self, model: str | None) -> str:
        return self.library.details(model) if model else ""


def connect(page: gr.Blocks, c: Components, handlers: Handlers) -> None:
    """Say what each click does."""
    quick: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", "concurrency_limit": 4}
    looking = [c.analysis, c.patch, c.model, c.moved, c.opacity]
    c.one.click(
        handlers.run, [c.images, c.masks, c.chosen, c.opacity], c.whole, concurrency_id="models", api_name="run"
    )
    c.every.click(
        handlers.run_all, [c.images, c.masks, c.opacity], c.whole, concurrency_id="models", api_name="run_all"
    )
    c.threshold.input(lambda value: value, c.threshold, c.moved, **quick).then(handlers.look, looking, c.seen, **quick)
    c.opacity.input(handlers.look, looking, c.seen, **quick)
    for selector in (c.patch, c.model):
        selector.input(
            handlers.other, [c.analysis, c.patch, c.model, c.opacity], [c.moved, c.threshold, *c.seen], **quick
        )
    c.chosen.change(handlers.details, c.chosen, c.about, **quick)
    page.load(handlers.details, c.chosen, c.about, **quick)
    c.prepare.click(handlers.downloads, [c.analysis, c.moved], c.files)
    c.take.click(handlers.sample, None, [c.images, c.masks])


def build(library: Library, folder: Path) -> gr.Blocks:
    """The page.

    Args:
        library: the models it offers.
        folder: for the files it writes, removed by the caller.
    """
    with gr.Blocks(title="tf_landslide", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        components = layout(library.names)
        connect(page, components, Handlers(library, folder, components))
    page.queue(max_size=WAITING, default_concurrency_limit=2)
    return page


def launch(library: Library, host: str = "127.0.0.1", port: int = 7860, *, block: bool = True) -> gr.Blocks:
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


def close(page: gr.Blocks) -> None:
    """Stop the page and remove what it wrote."""
    page.close(verbose=False)
    shutil.rmtree(page.folder, ignore_errors=True)
