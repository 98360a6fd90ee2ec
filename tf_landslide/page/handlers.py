"""What happens on each click; the modules beside this one do the work. A handler returns what changes, by component."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from tf_landslide.core.errors import LandslideError
from tf_landslide.page import views
from tf_landslide.page.analysis import Analysis, analyse, refine, sentence, status
from tf_landslide.page.components import Components
from tf_landslide.page.downloads import write_downloads
from tf_landslide.page.library import Library
from tf_landslide.page.making import Making, State, bar
from tf_landslide.page.refining import read_rules
from tf_landslide.page.samples import sample_files
from tf_landslide.page.store import Store
from tf_landslide.page.tables import patch_table, records, table, total_table
from tf_landslide.page.text import literal
from tf_landslide.page.uploads import Upload, read_uploads
from tf_landslide.predict.result import Result

FILES = 32  # in one go
GONE = (
    "⚠ **These results are no longer kept: an hour has passed, a run in another tab took their place, or others needed "
    "the memory. Run again.**"
)
PROGRESS = gr.Progress()  # by which Gradio knows where to put its own
NO_MODEL = "There is no model to run yet."
Changes = dict[Any, Any]  # new values, or properties, by component


class Handlers:
    """What is done on each click.

    Args:
        library: the models.
        folder: for the files it writes.
        components: that it changes.
        making: makes a model where there is none; None where that is not offered.
        store: keeps results.
    """

    def __init__(
        self,
        library: Library,
        folder: Path,
        components: Components,
        making: Making | None = None,
        store: Store | None = None,
    ):
        self.library, self.folder, self.on_page, self.making = library, folder, components, making
        self.store = store or Store()
        self._stops: dict[str, threading.Event] = {}  # by tab: set to cancel its run

    # A visit

    def arrive(self, key: str | None, opacity: float) -> Changes:
        """The page is loaded: which models there are, and what this browser had before a reload."""
        faults, analysis = self.library.faults(), self.store.get(key)
        names = [name for name in self.library.names if name not in faults]
        if analysis:
            switch = {self.on_page.refine: bool(analysis.refining)}
            switch[self.on_page.rules] = gr.File(visible=bool(analysis.refining))
            return self._offered(names) | switch | self._told(analysis, key, opacity)
        said = [GONE] * bool(key) + [f"⚠ **{literal(fault)}**" for fault in faults.values()]
        about = self.details(names[0] if names else None)
        page = self.on_page
        return self._offered(names) | {page.key: None, page.about: about, page.note: "\n\n".join(said)}

    def leave(self, request: gr.Request) -> None:
        """A tab is closed or loaded again: its run is of no use any more."""
        if stop := self._stops.pop(str(request.session_hash), None):
            stop.set()

    # A run

    def begin(self, request: gr.Request) -> Changes:
        self._stops[str(request.session_hash)] = threading.Event()
        return self._busy(True)

    def run(
        self,
        images,
        masks,
        model,
        opacity,
        refine=False,
        rules=None,
        key=None,
        progress=PROGRESS,
        request: gr.Request = None,
    ):
        models = [model] if model else []
        return self._run(images, masks, models, opacity, (refine, rules), key, progress, request)

    def run_all(
        self, images, masks, opacity, refine=False, rules=None, key=None, progress=PROGRESS, request: gr.Request = None
    ):
        return self._run(images, masks, self.library.names, opacity, (refine, rules), key, progress, request)

    def refined(
        self, wanted, rules, key, patch, model, threshold, opacity, progress=PROGRESS, request: gr.Request = None
    ) -> Changes:
        """The switch, or the rules, have changed: what is shown is refined by them, or no longer. Runs no model."""
        analysis, page = self.store.get(key), self.on_page
        if analysis is None:
            return self._gone() if key else {page.note: gr.skip()}
        try:
            analysis = refine(analysis, read_rules(rules) if wanted else None, progress, self._cancelled(request))
        except LandslideError as error:
            return {page.note: f"⚠ **{literal(str(error))}**"}
        stale = {page.files: gr.Files(value=None, visible=False)}
        kept = {page.key: self.store.put(analysis, instead_of=key)}
        return kept | stale | self._seen(analysis, patch, model, threshold, opacity)

    def cancel(self, request: gr.Request) -> Changes:
        if stop := self._stops.get(str(request.session_hash)):
            stop.set()
        return {self.on_page.cancel: gr.Button("Cancelling …", interactive=False)}

    def rest(self, request: gr.Request) -> Changes:
        self._stops.pop(str(request.session_hash), None)
        return self._busy(False)

    def stop(self) -> None:
        """Cancel all runs."""
        for stop in list(self._stops.values()):
            stop.set()

    def _cancelled(self, request: gr.Request | None) -> Callable[[], bool]:
        stop = self._stops.get(str(request.session_hash)) if request else None
        return stop.is_set if stop else lambda: False

    def _run(self, images, masks, models: list[str], opacity: float, rules, key, progress, request) -> Changes:
        cancelled = self._cancelled(request)
        said, by = None, None
        if not images:
            said = "Choose one or more .h5 patches first, or take the sample patch."
        elif len(images) > FILES:
            said = f"{len(images)} files are too many for one go; choose {FILES} at most."
        elif not models:
            said = NO_MODEL
        elif rules[0]:
            try:
                by = read_rules(rules[1])
            except LandslideError as error:
                said = str(error)
        if said:
            return {self.on_page.note: status(Analysis(problems=[said]))}
        progress(0, "reading the files")
        uploads, problems = read_uploads(
            images, masks or [], self.library.layouts(models), most_bytes=self.store.each, models=len(models)
        )
        analysis = analyse(self.library, uploads, models, progress, cancelled)
        analysis.problems = problems + analysis.problems
        analysis = refine(analysis, by, progress, cancelled)
        return self._told(analysis, self.store.put(analysis, instead_of=key), opacity)

    def _busy(self, going: bool) -> Changes:
        page = self.on_page
        return {
            page.one: gr.Button(interactive=bool(self.library.names) and not going),
            page.every: gr.Button(interactive=bool(self.library.names) and not going),
            page.refine: gr.Checkbox(interactive=not going),
            page.rules: gr.File(interactive=not going),
            page.cancel: gr.Button("Cancel", visible=going, interactive=True),
            page.progress: gr.HTML(visible=going),
        }

    # Looking

    def _told(self, analysis: Analysis, key: str | None, opacity: float) -> Changes:
        """The whole page after a run: which patch and model are shown, and everything about them."""
        page = self.on_page
        having = [i for i, results in enumerate(analysis.results) if results]
        patches = [(analysis.uploads[i].name, i) for i in having]
        models = list(analysis.results[having[0]]) if having else []
        patch, model = (having[0], models[0]) if having else (None, None)
        own = analysis.results[having[0]][models[0]].threshold if having else 0.5
        return {
            page.key: key,
            page.moved: None,
            page.patch: gr.Dropdown(choices=patches, value=patch, visible=len(patches) > 1),
            page.model: gr.Dropdown(choices=models, value=model, visible=len(models) > 1),
            page.threshold: gr.Slider(value=own, interactive=bool(having)),
            page.empty: gr.Column(visible=not having),
            page.shown: gr.Column(visible=bool(having)),
            page.overall: gr.Column(visible=len(having) > 1),
            page.comparison: gr.Column(visible=len(models) > 1),
            page.files: gr.Files(value=None, visible=False),
            **self._seen(analysis, patch, model, None, opacity),
        }

    def _seen(self, analysis: Analysis, patch, model, threshold: float | None, opacity: float) -> Changes:
        """Every picture and number of one patch and model; runs no model."""
        page = self.on_page
        if patch is None or model not in analysis.results[patch]:
            return dict.fromkeys(page.seen) | {page.note: status(analysis), page.about: gr.skip()}
        upload, results = analysis.uploads[patch], analysis.at(patch, threshold)
        rows = records(analysis, threshold)
        return {
            page.note: status(analysis),
            page.before_after: _slider(upload, results[model], opacity),
            page.results: views.prediction(upload, results[model]),
            page.inputs: views.inputs(upload),
            page.numbers: table(analysis, patch, threshold),
            page.totals: total_table(rows),
            page.patches: patch_table(rows),
            page.compared: views.comparison(upload, results, opacity) if len(results) > 1 else None,
            page.about: self.details(model),
            page.words: sentence(analysis, patch, model, threshold),
        }

    def look(self, key, patch, model, threshold: float | None, opacity: float) -> Changes:
        """The same patch and model, at another threshold or opacity."""
        analysis = self.store.get(key)
        return self._seen(analysis, patch, model, threshold, opacity) if analysis else self._gone()

    def other(self, key, patch, model, opacity: float) -> Changes:
        """Another patch or model is chosen: shown from its model's own threshold again."""
        analysis, page = self.store.get(key), self.on_page
        if not analysis or patch is None:
            return self._gone()
        models = list(analysis.results[patch])
        model = model if model in models else models[0]
        own = analysis.results[patch][model].threshold
        chosen = {
            page.model: gr.Dropdown(choices=models, value=model, visible=len(models) > 1),
            page.comparison: gr.Column(visible=len(models) > 1),
        }
        return {page.moved: None, page.threshold: own, **chosen, **self._seen(analysis, patch, model, None, opacity)}

    def _gone(self) -> Changes:
        return {self.on_page.note: GONE}

    def details(self, model: str | None) -> str:
        """What is known of a model, as Markdown."""
        if not model:
            return NO_MODEL
        try:
            return self.library.details(model)
        except LandslideError as error:
            return f"⚠ **{literal(str(error))}**"

    # Files

    def downloads(self, key, threshold: float | None) -> Changes:
        """The ZIP first, then the tables; the files of each patch by themselves only where there is one."""
        analysis, page = self.store.get(key), self.on_page
        if not analysis or not any(analysis.results):
            return self._gone()
        for old in self.folder.glob("download-*"):
            if time.time() - old.stat().st_mtime > 3600:
                shutil.rmtree(old, ignore_errors=True)
        archive, files = write_downloads(analysis, self.folder / f"download-{uuid.uuid4().hex[:8]}", threshold)
        alone = sum(map(len, analysis.results)) == 1
        listed = [archive, *(path for path in files if alone or path.suffix in (".csv", ".json"))]
        return {page.files: gr.Files(value=[str(path) for path in listed], visible=True)}

    def sample(self) -> Changes:
        image, mask = sample_files(self.folder)
        return {self.on_page.images: [str(image)], self.on_page.masks: [str(mask)]}

    # A model where there is none

    def make(self) -> Changes:
        if self.making:
            self.making.start()
        return self.made()

    def made(self) -> Changes:
        """How far it is; asked every second while it goes on."""
        return self._offered([name for name in self.library.names if name not in self.library.faults()])

    def _offered(self, names: list[str]) -> Changes:
        page, state = self.on_page, self.making.state if self.making else State()
        return {
            page.chosen: gr.Dropdown(choices=names, value=names[0] if names else None),
            page.one: gr.Button(interactive=bool(names)),
            page.every: gr.Button(interactive=bool(names)),
            page.offer: gr.Column(visible=not self.library.names and self.making is not None),
            page.make: gr.Button(interactive=not state.going),
            page.making: bar(state),
            page.clock: gr.Timer(active=state.going),
        }


def _slider(upload: Upload, result: Result, opacity: float) -> gr.ImageSlider:
    what = "Image and overlay" if result.refined is None else "Network, and refined"
    return gr.ImageSlider(value=views.overlays(upload, result, opacity), label=f"{what}: drag the line")
