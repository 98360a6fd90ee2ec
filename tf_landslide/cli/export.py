"""``tf-landslide export``."""

from __future__ import annotations

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json


def add(commands: Commands) -> None:
    parser = add_command(commands, "export", run, "publish a run's model as a versioned SavedModel")
    parser.add_argument("model", metavar="RUN", help="a run folder")
    parser.add_argument("--to", required=True, metavar="MODELS", help="the folder that a model server watches")
    parser.add_argument("--name", help="of the model (default: the config's)")
    parser.add_argument(
        "--precision",
        default="float32",
        metavar="NAME",
        help="what predict, map and the page compute it in: float32 (default), or bfloat16 or int8 where proven, see "
        "prove; servers compute in float32",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(a: Arguments) -> None:
    from tf_landslide.runs.folder import Run  # pydantic

    run = Run.open(a.model)
    start_tensorflow()
    from tf_landslide.jobs.export import export_run  # TensorFlow

    version = export_run(run, a.to, a.name, a.precision)
    if a.json:
        print_json({"model": str(version)})
    else:
        print(f"{version}: equal to the live model")
        if a.precision != "float32":
            print(f"predict, map and the page compute it in {a.precision}; servers compute it in float32")
