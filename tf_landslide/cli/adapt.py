"""``tf-landslide adapt``."""

from __future__ import annotations

from pathlib import Path

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json


def add(commands: Commands) -> None:
    what = "make a run whose statistics are those of a new region's images; no label is read"
    parser = add_command(commands, "adapt", run, what)
    parser.add_argument("model", metavar="RUN", help="a finished run")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches of the new region")
    parser.add_argument("--split", default="test", help="of --data, with masks or without (default test)")
    parser.add_argument("--out", required=True, metavar="RUN", help="the run folder to make")
    parser.add_argument(
        "--statistics",
        default="batch_norm",
        metavar="WHICH",
        help="batch_norm (default), input (its normalisation) or both",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(a: Arguments) -> None:
    from tf_landslide.runs.folder import Run  # pydantic

    source = Run.open(a.model)
    _ = source.threshold  # an unfinished run is refused before TensorFlow starts
    start_tensorflow()
    from tf_landslide.jobs.adapt import adapt  # TensorFlow

    made, layers = adapt(source, a.data, a.split, Path(a.out), a.statistics)
    derived = made.derived
    assert derived  # it was just made of a run
    if a.json:
        print_json({"run": str(made.path), "threshold": made.threshold, "layers": layers, **derived.as_dict()})
        return
    print(f"{made.path}: {derived.statistics} of {derived.images}; {layers} batch norms")
    print(f"threshold {made.threshold:.3f}, {made.threshold_from}: nothing was judged, since no mask was read")
