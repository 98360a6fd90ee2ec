"""``tf-landslide find-rate``."""

from __future__ import annotations

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command, number_above_0
from tf_landslide.cli.printing import print_json


def add(commands: Commands) -> None:
    parser = add_command(commands, "find-rate", run, "sweep the learning rate and suggest one; trains no run")
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of a shipped one, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. training.batch_size=8")
    parser.set_defaults(anywhere="overrides")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for learning_rate.json and .png")
    parser.add_argument("--low", type=number_above_0, default=1e-6, metavar="RATE", help="the first (default 1e-6)")
    parser.add_argument("--high", type=number_above_0, default=1.0, metavar="RATE", help="the last (default 1)")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="between them (default 200)")
    parser.add_argument("--json", action="store_true", help="print what is in learning_rate.json")


def run(a: Arguments) -> None:
    from tf_landslide.runs.config import load_config  # pydantic

    config = load_config(a.config, a.overrides)
    start_tensorflow()
    from tf_landslide.jobs.find_rate import FIGURE, find_rate  # TensorFlow

    found = find_rate(config, a.data, a.out, low=a.low, high=a.high, steps=a.steps)
    if a.json:
        print_json(found.as_dict())
        return
    print(f"steepest descent at {found.steepest:.2g}, lowest at {found.lowest:.2g}")
    print(f"diverges at {found.diverges:.2g}" if found.diverges else "did not diverge; try a larger --high")
    print(f"suggestion: training.learning_rate={found.suggestion:.2g}; figure: {a.out}/{FIGURE}")
