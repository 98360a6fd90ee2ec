"""``tf-landslide train``."""

from __future__ import annotations

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json, scores_table


def add(commands: Commands) -> None:
    what = "train a model from a config, choose its threshold, judge it"
    parser = add_command(commands, "train", run, what, "; it goes on from its last epoch with --resume")
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of a shipped one, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. training.epochs=10")
    parser.set_defaults(anywhere="overrides")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches")
    parser.add_argument("--out", required=True, metavar="RUN", help="the run folder to make")
    parser.add_argument("--resume", action="store_true", help="go on with the run that RUN holds")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(a: Arguments) -> None:
    from tf_landslide.runs.config import load_config  # pydantic

    config = load_config(a.config, a.overrides)
    start_tensorflow()
    from tf_landslide.jobs.train import train  # TensorFlow

    run = train(config, a.data, a.out, resume=a.resume)
    if a.json:
        print_json(run.metrics())
    else:
        print(scores_table(run.metrics()))
        print(f"threshold {run.threshold:.3f}, chosen on validation; report: {run.report_path}")
