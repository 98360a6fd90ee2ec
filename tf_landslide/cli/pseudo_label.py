"""``tf-landslide pseudo-label``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command, number
from tf_landslide.cli.printing import print_json


def add(commands: Commands) -> None:
    what = "label a split by what a run is sure of, to train on along with the labelled one"
    parser = add_command(commands, "pseudo-label", run, what)
    parser.add_argument("model", metavar="RUN", help="a run folder")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches, with or without masks")
    parser.add_argument("--split", default="test", help="train, valid or test (default test)")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder for the patches and their masks")
    parser.add_argument("--add-to", metavar="DIR", help="a labelled dataset: its splits go along, its train grows")
    parser.add_argument(
        "--confident", type=number, default=0.9, metavar="P", help="a landslide from this probability on (default 0.9)"
    )
    parser.add_argument(
        "--background", type=number, metavar="P", help="none up to this one (default 1 - P of --confident)"
    )
    parser.add_argument(
        "--keep", type=number, default=1.0, metavar="SHARE", help="of the patches, the surest ones (default 1: all)"
    )
    parser.add_argument("--json", action="store_true", help="print what is in pseudo_labels.json")


def run(a: Arguments) -> None:
    from tf_landslide.runs.folder import Run  # pydantic

    run = Run.open(a.model)
    _ = run.threshold  # an unfinished run is refused before TensorFlow starts
    start_tensorflow()
    from tf_landslide.jobs.pseudo_label import PseudoOptions, pseudo_label  # TensorFlow

    background = round(1 - a.confident, 12) if a.background is None else a.background
    options = PseudoOptions(a.split, a.confident, background, a.keep, Path(a.add_to) if a.add_to else None)
    card = pseudo_label(run, a.data, a.out, options)
    if a.json:
        print_json(card)
        return
    pixels, patches = card["pixels"], card["patches"]
    total = sum(pixels.values())
    shares = ", ".join(f"{count / total:.1%} {name.replace('_', ' ')}" for name, count in pixels.items())
    print(f"{patches['labelled']} of {patches['of_split']} patches of {a.split}, pixels: {shares}")
    if a.add_to:
        print(f"next: tf-landslide train {quote(f'{a.out}/config.yaml')} --data {quote(a.out)} --out RUN2")
    else:
        print(f"in {a.out}/TrainData; --add-to DIR adds them to a labelled dataset to train on")
