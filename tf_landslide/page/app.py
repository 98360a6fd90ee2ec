"""The page itself: which click does what, how it looks, and the server that shows it.

``components.layout`` says what is where, ``Handlers`` what is done, ``connect`` on which click.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI

from tf_landslide.page.components import Components, layout
from tf_landslide.page.doors import guards
from tf_landslide.page.handlers import Handlers
from tf_landslide.page.library import Library, find_models
from tf_landslide.page.listening import ENDINGS, address_of, listen
from tf_landslide.page.making import Make, Making
from tf_landslide.page.samples import example
from tf_landslide.page.scene_tab import remembered, scene_layout
from tf_landslide.page.scenes import MapScene, SceneHandlers

UPLOAD_LIMIT = "64mb"
WAITING = 64  # requests in the queue; one more is told to come again
SESSIONS = 100  # tabs of which Gradio remembers what it has shown
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def connect(page: gr.Blocks, c: Components, handlers: Handlers) -> None:
    """Say what each click does."""
    own: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}  # not for programs
    at_once: dict[str, Any] = {**own, "queue": False}
    quick: dict[str, Any] = {**own, "trigger_mode": "always_last", "concurrency_limit": 4}
    looking = [c.key, c.patch, c.model, c.moved, c.opacity]
    files = [c.images, c.masks]
    rules = [c.refine, c.rules]
    for button, function, inputs in (
        (c.one, handlers.run, [*files, c.chosen, c.opacity, *rules, c.key]),
        (c.every, handlers.run_all, [*files, c.opacity, *rules, c.key]),
    ):
        run = button.click(handlers.begin, None, c.busy, **at_once).then(
            function,
            inputs,
            c.whole,
            show_progress_on=c.progress,
            concurrency_id="models",
            api_name=function.__name__,
        )
        run.then(handlers.rest, None, c.busy, **at_once)
    c.refine.input(lambda wanted: gr.File(visible=wanted), c.refine, c.rules, **at_once)
    for switched in (c.refine.input, c.rules.upload, c.rules.clear):
        refined = switched(handlers.begin, None, c.busy, **at_once).then(
            handlers.refined,
            [*rules, *looking],
            [c.key, c.files, *c.seen],
            show_progress_on=c.progress,
            concurrency_id="models",
            api_visibility="private",
        )
        refined.then(handlers.rest, None, c.busy, **at_once)
    c.cancel.click(handlers.cancel, None, c.cancel, **at_once)
    c.threshold.input(lambda value: value, c.threshold, c.moved, **quick).then(handlers.look, looking, c.seen, **quick)
    c.opacity.input(handlers.look, looking, c.seen, **quick)
    for selector in (c.patch, c.model):
        selector.input(
            handlers.other,
            [c.key, c.patch, c.model, c.opacity],
            [c.moved, c.threshold, c.model, c.comparison, *c.seen],
            **quick,
        )
    c.chosen.change(handlers.details, c.chosen, c.about, **quick)
    c.prepare.click(handlers.downloads, [c.key, c.moved], [c.files, c.note], **own)
    c.take.click(handlers.sample, None, files, **own)
    c.make.click(handlers.make, None, c.offered, **at_once)
    c.clock.tick(handlers.made, None, c.offered, **at_once)
    page.load(handlers.arrive, [c.key, c.opacity], list(dict.fromkeys([*c.offered, *rules, *c.whole])), **own)
    page.unload(handlers.leave)


def theme() -> gr.themes.Base:
    """Fonts of the machine (the page asks no other host for anything), and words that stand out from their ground."""
    system, mono = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    return gr.themes.Default(primary_hue="teal", font=system, font_mono=mono).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )


@dataclass
class Page:
    """A page that is up.

    Attributes:
        local_url: where.
        folder: of the files that it writes.
    """

    local_url: str
    folder: Path
    blocks: gr.Blocks
    handlers: Handlers
    scenes: SceneHandlers | None
    server: uvicorn.Server
    thread: threading.Thread

    def close(self) -> None:
        """Stop it, and remove what it wrote."""
        self.handlers.stop()
        if self.scenes:
            self.scenes.stop()
        if self.handlers.making:
            self.handlers.making.stop()
        self.blocks.close(verbose=False)
        self.server.should_exit = True
        self.thread.join(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)


def launch(
    library: Library,
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    allowed_hosts: Iterable[str] = (),
    make: Make | None = None,
    mapping: MapScene | None = None,
    block: bool = True,
) -> Page:
    """Show the page until it is ended (Ctrl-C, SIGTERM); all that it writes is in a temporary folder that goes with it.

    Args:
        library: the models it offers.
        host, port: where it listens; port 0 for a free one.
        allowed_hosts: further names it may be reached by and called from, see ``doors``.
        make: makes models, offered where there are none.
        mapping: maps scenes; without it there is no tab for them.
        block: return when it has ended, not when it is up.

    Raises:
        LandslideError: an address that cannot be listened on.
    """
    listening = listen(host, port)
    address = address_of(listening, host)
    ended = threading.Event()
    if block:
        for ending in ENDINGS:
            signal.signal(ending, lambda *_: ended.set())
    folder = Path(tempfile.mkdtemp(prefix="tf_landslide_page_"))
    page = None
    try:
        page = _start(library, folder, listening, address, guards(host, allowed_hosts), make, mapping)
        if block:
            print(f"the page is at {address}", flush=True)
            while not ended.wait(1) and page.thread.is_alive():
                pass
    finally:
        if block and page:
            page.close()
        elif not page:
            listening.close()
            shutil.rmtree(folder, ignore_errors=True)
    return page


def _start(
    library: Library,
    folder: Path,
    listening: socket.socket,
    address: str,
    middleware: list,
    make: Make | None,
    mapping: MapScene | None,
) -> Page:
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    making = Making(make, lambda found: library.add(find_models([found]))) if make else None
    with gr.Blocks(title="tf_landslide", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        kept = remembered()
        with gr.Tabs():
            with gr.Tab("Patches"):
                components = layout(example(folder), library.names)
            with gr.Tab("Scene", visible=mapping is not None):
                tab = scene_layout(*kept)
        scenes = None
        handlers = Handlers(library, folder, components, making)
        connect(blocks, components, handlers)
        if mapping is not None:
            scenes = SceneHandlers(library, folder, tab, mapping)
            scenes.connect(blocks)
    blocks.queue(max_size=WAITING, default_concurrency_limit=2)
    blocks.state_session_capacity = SESSIONS
    app = gr.mount_gradio_app(
        FastAPI(middleware=middleware, openapi_url=None),
        blocks,
        path="",
        theme=theme(),
        css=CSS,
        max_file_size=UPLOAD_LIMIT,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        show_error=True,
    )
    blocks.app = app.routes[-1].app  # the mounted one, whose open streams ``close`` ends
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="page", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    return Page(address, folder, blocks, handlers, scenes, server, thread)
