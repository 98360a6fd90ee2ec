"""``tf-landslide page``, which ``gradio_app.py`` is too."""

from __future__ import annotations

import argparse

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra


def add(commands: Commands) -> None:
    parser = add_command(commands, "page", run, "the page: upload patches, look, compare, download")
    add_arguments(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", action="append", default=[], metavar="DIR", help="a folder of exports or runs; repeatable"
    )
    parser.add_argument(
        "--server", action="append", default=[], metavar="URL", help="grpc://HOST:PORT/NAME, repeatable"
    )
    parser.add_argument("--max-loaded", type=int, default=4, metavar="N", help="models in memory at a time (default 4)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="default 7860")


def run(a: Arguments) -> None:
    if not a.models and not a.server:
        raise LandslideError("name the models: --models DIR (exports or runs), --server grpc://HOST:PORT/NAME, or both")
    start_tensorflow()
    with extra("page"):
        from tf_landslide.page.app import launch  # Gradio
    from tf_landslide.page.library import Library, find_models

    launch(Library(find_models(a.models, a.server), a.max_loaded), a.host, a.port)
