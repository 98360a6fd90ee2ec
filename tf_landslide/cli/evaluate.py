"""``tf-landslide evaluate``."""

from __future__ import annotations

from pathlib import Path

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json, scores_table


def add(commands: Commands) -> None:
    parser = add_command(commands, "evaluate", run, "judge a run on a split, with its own threshold")
    parser.add_argument("model", metavar="RUN", help="a run folder")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches")
    parser.add_argument("--split", default="test", help="train, valid or test (default test)")
    parser.add_argument("--out", metavar="REPORT", help="folder for the report (default RUN/report_SPLIT)")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(a: Arguments) -> None:
    from tf_landslide.runs import formats  # pydantic
    from tf_landslide.runs.folder import Run

    run = Run.open(a.model)
    _ = run.threshold  # an unfinished run is refused before TensorFlow starts
    start_tensorflow()
    from tf_landslide.jobs.evaluate import evaluate  # TensorFlow

    out = Path(a.out or run.path / f"{formats.REPORT}_{a.split}")
    scores = evaluate(run, a.data, a.split, out)
    if a.json:
        print_json(scores)
    else:
        print(scores_table({a.split: scores}))
        print(f"threshold {scores['threshold']:.3f}, {run.threshold_from}; report: {out / formats.REPORT_FILE}")
