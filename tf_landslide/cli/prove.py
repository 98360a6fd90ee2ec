"""``tf-landslide prove``."""

from __future__ import annotations

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json
from tf_landslide.core.errors import require_known


def add(commands: Commands) -> None:
    what = "prove on validation that a run may be computed in a short format"
    parser = add_command(commands, "prove", run, what)
    parser.add_argument("model", metavar="RUN", help="a finished run")
    parser.add_argument("--data", required=True, metavar="DIR", help="the data it was validated on")
    parser.add_argument(
        "--precision",
        required=True,
        metavar="NAME",
        help="bfloat16 (extra: openvino) or int8 (extra: int8)",
    )
    parser.add_argument("--json", action="store_true", help="print the proof as JSON")


def run(a: Arguments) -> None:
    from tf_landslide.runs.folder import Run  # pydantic
    from tf_landslide.runs.precision import ALLOWED, SHORT, require_to_prove

    require_known(a.precision, SHORT, "short format")
    run = Run.open(a.model)
    _ = run.threshold  # an unfinished run is refused before TensorFlow starts
    require_to_prove(a.precision)
    start_tensorflow()
    from tf_landslide.jobs.prove import prove  # TensorFlow

    proof = prove(run, a.data, a.precision)
    if a.json:
        print_json(proof.as_dict())
        return
    print(f"{run.path}: {proof.precision} is proven: {proof}")
    allowed = ALLOWED[proof.precision]
    print(f"F1 {-proof.lost:+.4f} on {proof.valid['patches']} patches, where {allowed:g} may be lost")
