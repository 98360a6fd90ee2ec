"""``tf-landslide page``, which ``gradio_app.py`` is too."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tf_landslide.cli.parsing import Arguments, Commands, add_command, positive_whole
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra
from tf_landslide.core.threads import share_heaps

USUAL = ("models", "demo/models")  # where models are looked for unless somebody names a folder
DEMO = "demo"
_STAGES = {"writing": 0.02, "training": 0.08, "judging": 0.85, "predicting": 0.97, "exporting": 0.98}  # share by then


def add(commands: Commands) -> None:
    parser = add_command(commands, "page", run, "the page: upload patches, look, compare, download")
    add_arguments(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        action="append",
        default=[],
        metavar="DIR",
        help=f"a folder of exports or runs, repeatable (default {' and '.join(USUAL)}, where they are)",
    )
    parser.add_argument(
        "--server", action="append", default=[], metavar="URL", help="grpc://HOST:PORT/NAME, repeatable"
    )
    parser.add_argument(
        "--max-loaded", type=positive_whole, default=4, metavar="N", help="models in memory at a time (default 4)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="default 7860; 0 for a free one")
    parser.add_argument(
        "--allowed-hosts",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that the page may be reached by and called from beside localhost and addresses in digits, "
        "repeatable; '*' for any",
    )


def run(a: Arguments) -> None:
    share_heaps()  # before Gradio and TensorFlow start threads
    with extra("page"):
        from tf_landslide.page.app import launch  # Gradio
    from tf_landslide.page.library import Library, find_models, models_in

    named = a.models or a.server
    folders = a.models if named else [folder for folder in USUAL if models_in(Path(folder))]
    library = Library(find_models(folders, a.server), a.max_loaded)
    make = None if named else make_demo
    launch(library, a.host, a.port, allowed_hosts=a.allowed_hosts, make=make, mapping=mapping())


def mapping() -> Any:
    """What maps scenes on the page; None without the packages of maps."""
    if find_spec("rasterio") is None:
        return None
    from tf_landslide.jobs.page_map import map_request  # rasterio, which is optional

    return map_request


def make_demo(told: Callable[[float, str], None]) -> Path:
    """Make the demo's model, in a process of its own: it sets seeds, fills memory, and can be ended.

    Args:
        told: called with the share done and what is being done; what it raises ends the process.

    Returns:
        the folder of the model.

    Raises:
        LandslideError: it went wrong, in the words of the process.
    """
    words = [sys.executable, "-u", "-m", "tf_landslide", "demo", "--no-page", "--out", DEMO]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = ["starting"]
    reader = threading.Thread(
        target=lambda: lines.extend(line.strip() for line in process.stdout or () if line.strip())
    )
    reader.start()
    try:
        while process.poll() is None:
            told(max(map(_share, lines)), lines[-1])
            time.sleep(0.3)
    finally:
        process.terminate()
        process.wait()
        reader.join()
    if process.returncode:
        raise LandslideError(f"the demo's model could not be made: {lines[-1].removeprefix('error: ')}")
    return Path(DEMO) / "models"


def _share(said: str) -> float:
    """How far the demo is, by what it says: a stage, or ``epoch K/N`` of the longest one."""
    if epoch := re.match(r"epoch (\d+)/(\d+)", said):
        begun, ended = _STAGES["training"], _STAGES["judging"]
        return begun + (ended - begun) * int(epoch[1]) / int(epoch[2])
    stage = re.match(r"\[ *\d+ s\] (\w+)", said)
    return _STAGES.get(stage[1], 0.0) if stage else 0.0
