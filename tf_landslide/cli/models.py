"""``tf-landslide models``."""

from __future__ import annotations

from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json
from tf_landslide.models.catalogue import catalogue_markdown, load_catalogue


def add(commands: Commands) -> None:
    what = "list architectures, encoders and the paper's models with their sizes"
    parser = add_command(commands, "models", run, what)
    parser.add_argument("--json", action="store_true", help="print JSON (default: Markdown)")


def run(a: Arguments) -> None:
    catalogue = load_catalogue()
    if a.json:
        print_json(catalogue)
    else:
        print(catalogue_markdown(catalogue))
