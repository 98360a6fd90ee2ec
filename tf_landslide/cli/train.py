"""``tf-landslide train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command, seeds
from tf_landslide.cli.printing import folds_table, print_json, scores_table
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.tables import text_table
from tf_landslide.metrics import SCORES
from tf_landslide.runs.formats import is_run

if TYPE_CHECKING:
    from tf_landslide.runs.sections import Config


def add(commands: Commands) -> None:
    what = "train a model from a config, choose its threshold, judge it"
    parser = add_command(commands, "train", run, what, _hint)
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of a shipped one, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. training.epochs=10")
    parser.set_defaults(anywhere="overrides")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches")
    parser.add_argument("--out", required=True, metavar="RUN", help="the run folder to make")
    parser.add_argument("--resume", action="store_true", help="go on with the run that RUN holds")
    parser.add_argument(
        "--folds", type=int, metavar="N", help="a run a fold of whole groups (data.groups), in RUN/fold_0 …"
    )
    parser.add_argument(
        "--seeds", type=seeds, metavar="N", help="a run a seed, in RUN/seed_0 …: 3 for the first three, or e.g. 0,7,42"
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def _hint(a: Arguments) -> str:
    out = Path(a.out)
    if any(map(is_run, (out, *out.glob("*"), *out.glob("*/*")))):
        return "; it goes on from its last epoch with --resume"
    return " before anything was begun; give the same command again"


def run(a: Arguments) -> None:
    from tf_landslide.runs.config import load_config  # pydantic

    config = load_config(a.config, a.overrides)
    if a.seeds:
        _seeds(a, config)
        return
    start_tensorflow()
    if a.folds is not None:
        _folds(a, config)
        return
    from tf_landslide.jobs.train import train  # TensorFlow

    run = train(config, a.data, a.out, resume=a.resume)
    if not run.is_judged:
        print("trained; the first worker judges the model and writes the report")
    elif a.json:
        print_json(run.metrics())
    else:
        print(scores_table(run.metrics()))
        print(f"threshold {run.threshold:.3f}, chosen on validation; report: {run.report_path}")


def _folds(a: Arguments, config: Config) -> None:
    from tf_landslide.jobs.folds import train_folds  # TensorFlow

    judged = train_folds(config, a.data, a.out, a.folds, resume=a.resume)
    print_json(judged) if a.json else print(folds_table(judged))


def _seeds(a: Arguments, config: Config) -> None:
    if any(override.partition("=")[0] == "training.seed" for override in a.overrides):
        raise LandslideError("--seeds sets training.seed of each run; leave one of the two out")
    summary = _trained_seeds(a, config)
    if a.json:
        print_json(summary)
    else:
        print(_spread_table(summary["splits"]))
        print(f"mean ± standard deviation over seeds {', '.join(map(str, summary['seeds']))}; each in {a.out}/seed_…")


def _trained_seeds(a: Arguments, config: Config) -> dict[str, Any]:
    if a.folds is None:
        from tf_landslide.jobs.seeds import train_seeds  # pydantic, NumPy

        return train_seeds(config, a.data, a.out, a.seeds, resume=a.resume)
    start_tensorflow()
    from tf_landslide.jobs.folded_seeds import train_folded_seeds  # TensorFlow

    return train_folded_seeds(config, a.data, a.out, a.seeds, a.folds, resume=a.resume)


def _spread_table(splits: dict[str, Any]) -> str:
    names = {name: name for name in SCORES} | {"f1": "F1", "iou": "IoU", "objects_f1": "objects, IoU 0.3"}
    rows = [[split, *(_spread(row.get(name)) for name in names)] for split, row in splits.items()]
    return text_table(("", *names.values()), rows)


def _spread(score: dict[str, Any] | None) -> str:
    if score is None:
        return ""
    return f"{score['mean']:.4f}" + (f" ± {score['sd']:.4f}" if score["sd"] is not None else "")
