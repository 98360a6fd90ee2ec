"""``tf-landslide evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.startup import start_tensorflow
from tf_landslide.cli.objects import read_rules
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import change, print_json, scores_table


def add(commands: Commands) -> None:
    parser = add_command(commands, "evaluate", run, "judge a run on a split, with its own threshold")
    parser.add_argument("model", metavar="RUN", help="a run folder")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches")
    parser.add_argument("--split", default="test", help="train, valid or test (default test)")
    parser.add_argument("--out", metavar="REPORT", help="folder for the report (default RUN/report_SPLIT)")
    parser.add_argument("--objects", metavar="RULES", help="judge the map refined by rules too: a name or a YAML file")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(a: Arguments) -> None:
    from tf_landslide.runs import formats  # pydantic
    from tf_landslide.runs.folder import Run

    run = Run.open(a.model)
    _ = run.threshold  # an unfinished run is refused before TensorFlow starts
    rules = read_rules(a.objects)
    start_tensorflow()
    from tf_landslide.jobs.evaluate import evaluate  # TensorFlow

    out = Path(a.out or run.path / f"{formats.REPORT}_{a.split}")
    scores = evaluate(run, a.data, a.split, out, rules)
    if a.json:
        print_json(scores)
    else:
        refined = {f"{a.split}, refined": scores["refined"]} if rules else {}
        print(scores_table({a.split: scores} | refined))
        if rules:
            _print_difference(scores["refined"])
        print(f"threshold {scores['threshold']:.3f}, {run.threshold_from}; report: {out / formats.REPORT_FILE}")


def _print_difference(refined: dict[str, Any]) -> None:
    pixels, objects = refined["difference"]["f1"], refined["difference"]["objects"]["0.3"]
    print(f"refined by {refined['rules']}: F1 {change(pixels)}, of objects {change(objects)}")
    if refined["left_out"]:
        print(f"left out: {', '.join(refined['left_out'])}")
    if refined["caveat"]:
        print(f"note: {refined['caveat']}")
