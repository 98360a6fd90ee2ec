"""``tf-landslide combine``."""

from __future__ import annotations

from pathlib import Path

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import folds_table, print_json, scores_table
from tf_landslide.core.errors import LandslideError


def add(commands: Commands) -> None:
    what = "make one run of several: answers or weights averaged, over symmetries, calibrated"
    parser = add_command(commands, "combine", run, what)
    parser.add_argument(
        "models", nargs="+", metavar="RUN", help="finished runs of the same channels, or folders of folds"
    )
    parser.add_argument("--out", required=True, metavar="RUN", help="the run folder to make")
    parser.add_argument("--data", metavar="DIR", help="what the runs were validated on: choose the threshold there")
    parser.add_argument(
        "--tta", default="none", metavar="WHICH", help="average over symmetries: flips, eight, none (default) or auto"
    )
    parser.add_argument(
        "--average", default="probabilities", metavar="WHAT", help="of the runs: probabilities (default) or weights"
    )
    parser.add_argument("--temperature", action="store_true", help="calibrate: fit a temperature on validation")
    parser.add_argument("--threshold", type=float, metavar="P", help="in place of one chosen on validation")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(a: Arguments) -> None:
    from tf_landslide.runs import formats  # pydantic
    from tf_landslide.runs.folder import Run  # pydantic

    if any((Path(model) / formats.FOLDS).is_file() for model in a.models):
        _folds(a)
        return
    runs = [Run.open(model) for model in a.models]
    for member in runs:
        _ = member.threshold  # an unfinished run is refused before TensorFlow starts
    start_tensorflow()
    from tf_landslide.jobs.combine import Recipe, combine  # TensorFlow

    made = combine(runs, Path(a.out), Recipe(a.tta, a.average, a.temperature, a.threshold), a.data)
    derived = made.derived
    assert derived  # it was just made of runs
    if a.json:
        print_json({"run": str(made.path), "threshold": made.threshold, **derived.as_dict()})
        return
    if not made.came_with_threshold:
        print(scores_table(made.metrics()))
    symmetries = "" if derived.symmetries == "none" else f"; over symmetries: {derived.symmetries}"
    temperature = f"; temperature {derived.temperature:.3f}" if derived.temperature else ""
    print(f"{made.path}: {len(runs)} of {derived.average}{symmetries}{temperature}")
    if "ece_before" in derived.validation:
        before, after = derived.validation["ece_before"], derived.validation.get("ece_after")
        print(f"ECE on validation {before:.4f} before" + (f", {after:.4f} after" if after is not None else ""))
    print(f"threshold {made.threshold:.3f}, {made.threshold_from}")


def _folds(a: Arguments) -> None:
    if a.data is None:
        raise LandslideError("folds are judged where they are combined: give --data DIR")
    start_tensorflow()
    from tf_landslide.jobs.combine import Recipe  # TensorFlow
    from tf_landslide.jobs.folds import combine_folds

    told = combine_folds(a.models, a.out, Recipe(a.tta, a.average, a.temperature, a.threshold), a.data)
    print_json(told) if a.json else print(folds_table(told))
