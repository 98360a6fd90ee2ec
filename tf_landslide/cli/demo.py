"""``tf-landslide demo``."""

from __future__ import annotations

import sys
from pathlib import Path

from serving.startup import start_tensorflow
from tf_landslide.cli.page import mapping
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json, scores_table
from tf_landslide.core.extras import extra


def add(commands: Commands) -> None:
    parser = add_command(commands, "demo", run, "all of it on the synthetic sample landscape")
    parser.add_argument("--out", default="demo", metavar="DIR", help="folder to make (default demo)")
    parser.add_argument(
        "--no-page", action="store_true", help="do not end in the page (it never does but on a terminal)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(a: Arguments) -> None:
    start_tensorflow()
    from tf_landslide.jobs.demo import run_demo  # TensorFlow

    result = run_demo(a.out)
    if a.json:
        print_json(result)
        return
    print("\nTest split of the SYNTHETIC sample landscape (says nothing about real landslides):\n")
    print(scores_table(result["scores"]))
    print(f"\nreport    {result['report']}\nmodel     {result['model']}\npictures")
    print("\n".join(f"  {path}" for path in result["pictures"]))
    if result["map"]:
        told = result["map"]
        print(
            f"map of a SYNTHETIC scene: {told['landslides']} landslides, {told['area_ha']:,.1f} ha; against its truth"
        )
        print(scores_table({"  pixels": told["scores"]}))
        print(f"open {told['page']}")
    print(f"\ndone in {result['seconds']:.0f} s")
    models = Path(result["model"]).parents[1]
    if a.no_page or not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"the page: python gradio_app.py --models {models}")
        return
    with extra("page"):
        from tf_landslide.page.app import launch  # Gradio
    from tf_landslide.page.library import Library, find_models

    print("Ctrl-C ends the page")

    launch(Library(find_models([models])), mapping=mapping())
