"""``tf-landslide evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.startup import start_tensorflow
from tf_landslide.cli.objects import read_rules
from tf_landslide.cli.parsing import Arguments, Commands, add_command, add_precision, positive_whole
from tf_landslide.cli.printing import change, print_json, scores_table
from tf_landslide.core.errors import require_known
from tf_landslide.core.tables import text_table


def add(commands: Commands) -> None:
    parser = add_command(commands, "evaluate", run, "judge a run on a split, with its own threshold")
    parser.add_argument("model", metavar="RUN", help="a run folder")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches")
    parser.add_argument("--split", default="test", help="train, valid or test (default test)")
    add_precision(parser)
    parser.add_argument(
        "--out",
        metavar="REPORT",
        help="folder for the report (default RUN/report_SPLIT[_PRECISION])",
    )
    parser.add_argument("--objects", metavar="RULES", help="judge the map refined by rules too: a name or a YAML file")
    parser.add_argument("--against", metavar="SPLIT", help="also what is lost from there to here, e.g. valid")
    parser.add_argument(
        "--importance",
        type=positive_whole,
        nargs="?",
        const=3,
        default=0,
        metavar="N",
        help="also what each channel is worth: F1 when it is that of other patches, N shuffles (3)",
    )
    parser.add_argument("--sensitivity", action="store_true", help="also what faults of the input cost")
    parser.add_argument("--uncertainty", action="store_true", help="also whether it is unsure where it is wrong")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(a: Arguments) -> None:
    from tf_landslide.runs import formats  # pydantic
    from tf_landslide.runs.folder import Run
    from tf_landslide.runs.precision import PRECISIONS, SHORT

    if a.precision is not None:
        require_known(a.precision, PRECISIONS, "precision")
    run = Run.open(a.model)
    _ = run.threshold  # an unfinished run is refused before TensorFlow starts
    rules = read_rules(a.objects)
    start_tensorflow()
    from tf_landslide.jobs.evaluate import Asked, evaluate  # TensorFlow

    short = f"_{a.precision}" if a.precision in SHORT else ""
    out = Path(a.out or run.path / f"{formats.REPORT}_{a.split}{short}")
    asked = Asked(rules, a.against, a.importance, a.sensitivity, a.uncertainty)
    scores = evaluate(run, a.data, a.split, out, asked, a.precision)
    if a.json:
        print_json(scores)
    else:
        refined = {f"{a.split}, refined": scores["refined"]} if rules else {}
        print(scores_table({a.split: scores} | refined))
        if rules:
            _print_difference(scores["refined"])
        _print_more(scores, a.split)
        print(f"threshold {scores['threshold']:.3f}, {run.threshold_from}; report: {out / formats.REPORT_FILE}")


def _print_more(scores: dict[str, Any], split: str) -> None:
    if told := scores.get("shift"):
        for name, row in (("F1", told["f1"]), ("ECE", told["ece"])):
            if row:
                moved = change({"value": row["change"], "interval": row["interval"]})
                print(f"{name}: {row['before']:.4f} on {told['against']}, {row['here']:.4f} here: {moved}")
        best = told["own_best"]
        print(
            f"at the best threshold of {split} itself, {best['threshold']:.3f} (a bound, no score): F1 {best['f1']:.4f}"
        )
    if told := scores.get("importance"):
        rows = [*told["channels"], *told["sources"]]
        cells = [(row["name"], change({"value": row["drop"], "interval": row["interval"]})) for row in rows]
        print(text_table(("shuffled", "drop of F1"), cells))
    for name, measure in scores.get("uncertainty", {}).items():
        if measure["curve"]:
            print(f"unsure by {name}: AURC {measure['aurc']:.4f}, {measure['excess']:.4f} above the best order")
    if told := scores.get("sensitivity"):
        cells = [(row["name"], change({"value": row["change"], "interval": row["interval"]})) for row in told["faults"]]
        print(text_table(("input", "change of F1"), cells) if cells else "no fault is known of these bands")


def _print_difference(refined: dict[str, Any]) -> None:
    pixels, objects = refined["difference"]["f1"], refined["difference"]["objects"]["0.3"]
    print(f"refined by {refined['rules']}: F1 {change(pixels)}, of objects {change(objects)}")
    if refined["left_out"]:
        print(f"left out: {', '.join(refined['left_out'])}")
    if refined["caveat"]:
        print(f"note: {refined['caveat']}")
