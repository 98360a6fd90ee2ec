"""``tf-landslide objects``: the rules that refine a map by its objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, Parser, add_command
from tf_landslide.cli.printing import change, print_json
from tf_landslide.core.tables import text_table

if TYPE_CHECKING:
    from tf_landslide.objects.rules import Rules

RULES = "shipped rules by name (landslide), or a YAML file"


def add(commands: Commands) -> None:
    parser = add_command(commands, "objects", show, "rules that refine a map by its objects: show them, fit them")
    what = parser.add_subparsers(metavar="WHAT", required=True, parser_class=Parser)
    fitting = add_command(what, "fit", fit, "fit rules to a run's validation split")
    fitting.add_argument("model", metavar="RUN", help="a run folder")
    fitting.add_argument("--data", required=True, metavar="DIR", help="a dataset with a validation split")
    fitting.add_argument("--out", required=True, metavar="RULES.yaml", help="file to write")
    fitting.add_argument("--rules", default="landslide", metavar="RULES", help=f"to begin with: {RULES}")
    fitting.add_argument("--forest", action="store_true", help="a random forest on the objects' attributes instead")
    fitting.add_argument("--folds", type=int, default=5, metavar="N", help="to tell what it is worth by (default 5)")
    fitting.add_argument("--seed", type=int, default=0, metavar="S", help="of folds and forest (default 0)")
    fitting.add_argument("--json", action="store_true", help="print what was seen as JSON")
    showing = add_command(what, "show", show, "print rules readably")
    showing.add_argument("rules", metavar="RULES", help=RULES)


def fit(a: Arguments) -> None:
    from tf_landslide.objects.rules import Rules  # SciPy, scikit-image
    from tf_landslide.runs.folder import Run

    opened, rules = Run.open(a.model), Rules.read(a.rules)
    opened.metrics()  # an unfinished run is refused before TensorFlow starts
    start_tensorflow()
    from tf_landslide.jobs import objects  # TensorFlow

    found = objects.fit(opened, a.data, Path(a.out), rules, forest=a.forest, folds=a.folds, seed=a.seed)
    if a.json:
        print_json(found)
        return
    record, held_out = found["fit"], found["held_out"]
    difference = held_out["difference"]
    print(f"{record['objects']:,} objects of {record['patches']} validation patches")
    print(f"F1 {record['f1_network']:.4f} by the network, {record['f1_fitted']:.4f} where fitted and judged alike")
    print(f"{record['held_out']['folds']} folds, held out: F1 {held_out['f1']:.4f}, {change(difference['f1'])}")
    print(f"of objects at IoU 0.3: {change(difference['objects']['0.3'])}")
    print(f"rules: {a.out}")


def show(a: Arguments) -> None:
    from tf_landslide.objects.rules import Rules  # SciPy, scikit-image

    rules = Rules.read(a.rules)
    print(f"{rules.name}: {rules.title}" if rules.title else rules.name)
    cut, marks = rules.segments, rules.marks
    print(f"segments: {cut.method}, about {cut.size} pixels, by {', '.join(cut.layers)}")
    others = "none" if marks.rejected == 1 else f"those {marks.rejected:g} of the way from it to 1, and above"
    print(f"an object is accepted from a confidence of {rules.accept:g}")
    print(f"its pixels are marked from {marks.accepted:g} x the model's threshold on; of other objects {others}")
    if rules.forest is not None:
        names = rules.forest.attributes.tolist()
        print(f"confidence: a forest of {len(rules.forest.roots)} trees on {', '.join(names)}")
        return
    for s in rules.sets:
        print(f"\n{s.name}: {s.decides}s, weight {s.weight:g}, conditions joined by {s.combine}")
        print(text_table(("", "ramp", "weight", "source", "because"), map(_row, s.conditions)))
    print()
    for key, citation in rules.sources.items():
        print(f"{key}: {citation}")


def read_rules(name: str | None) -> Rules | None:
    """The rules that ``--objects`` names, if any."""
    if name is None:
        return None
    from tf_landslide.objects.rules import Rules  # SciPy, scikit-image

    return Rules.read(name)


def _row(c: Any) -> tuple[str, str, str, str, str]:
    ramp = f"{'rises' if c.direction > 0 else 'falls'} {c.ramp[0]:g} to {c.ramp[1]:g}{' (fitted)' if c.fitted else ''}"
    return c.attribute, ramp, f"{c.weight:g}", c.source, c.reason
