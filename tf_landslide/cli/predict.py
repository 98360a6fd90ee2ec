"""``tf-landslide predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_landslide.cli.objects import read_rules
from tf_landslide.cli.parsing import Arguments, Commands, add_command, add_precision
from tf_landslide.cli.printing import print_json
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.tables import text_table

if TYPE_CHECKING:
    import numpy as np

    from tf_landslide.predict.files import Prediction
    from tf_landslide.predict.predictor import Predictor

_WAIT = 30  # a server starts in some ten seconds on two cores, most of them TensorFlow's
_TLS = {"ca": "authority of a grpcs:// server", "cert": "own certificate", "key": "its key"}


def add(commands: Commands) -> None:
    what = "predict HDF5 patches: probability .npy, mask and overlay PNG"
    parser = add_command(commands, "predict", run, what)
    parser.add_argument("model", metavar="MODEL", help="a run, a SavedModel folder, or grpc://HOST:PORT/NAME")
    parser.add_argument("inputs", nargs="*", metavar="INPUT.h5", help="patches in the model's band layout, any size")
    parser.set_defaults(anywhere="inputs")
    parser.add_argument("--data", metavar="DIR", help="in their place: a dataset, of which to predict a split")
    parser.add_argument("--split", metavar="NAME", help="of --data, with masks or without (default test)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--threshold", type=float, metavar="P", help="default: the model's own")
    parser.add_argument(
        "--runtime", default="auto", metavar="NAME", help="for a SavedModel: tensorflow, openvino or auto"
    )
    add_precision(parser)
    parser.add_argument("--allow-missing", action="store_true", help="take NaN as a missing value, not as a fault")
    parser.add_argument(
        "--wait", type=float, metavar="SECONDS", help=f"for a server that is starting (default {_WAIT}; 0: not at all)"
    )
    parser.add_argument("--strict", action="store_true", help="refuse values that are not those of the layout")
    for name, help in _TLS.items():
        parser.add_argument(f"--tls-{name}", metavar="PEM", help=f"{help}, for TLS")
    parser.add_argument("--objects", metavar="RULES", help="refine masks by their objects: landslide, or a YAML file")
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="write too how far apart answers are: of combined runs, or by dropout",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(a: Arguments) -> None:
    if bool(a.inputs) == bool(a.data):
        raise LandslideError("predict takes either files, INPUT.h5 …, or a dataset, --data DIR; see predict --help")
    if a.split and not a.data:
        raise LandslideError("--split is of a dataset, --data DIR; leave it out")
    rules = read_rules(a.objects)
    predictor = _predictor(a)
    from tf_landslide.predict.files import predict_files, split_images  # SciPy

    refine = None
    if rules:
        from tf_landslide.objects.judging import Refiner  # scikit-image

        def refine(channels: np.ndarray, probability: np.ndarray, threshold: float) -> np.ndarray:
            return Refiner(predictor.card, rules, threshold)(channels, probability).mask

    inputs = split_images(a.data, a.split or "test") if a.data else a.inputs
    predictions = predict_files(
        predictor,
        inputs,
        a.out,
        threshold=a.threshold,
        allow_missing=a.allow_missing,
        strict=a.strict,
        refine=refine,
        unsure=a.uncertainty,
    )
    if a.json:
        print_json([prediction.as_dict() for prediction in predictions])
        return
    print(text_table(("input", "mean probability", "landslide", "hectares"), map(_row, predictions)))
    print(f"threshold {predictions[0].threshold:.3f}; results in {a.out}")


def _predictor(a: Arguments) -> Predictor:
    from tf_landslide.predict.load import is_server, load_predictor  # pydantic

    tls = {"authority": a.tls_ca, "certificate": a.tls_cert, "key": a.tls_key}
    if not is_server(a.model):
        if any(tls.values()) or a.wait is not None:
            raise LandslideError(
                "--wait, --tls-ca, --tls-cert and --tls-key are for a model on a server, grpc[s]://HOST:PORT/NAME"
            )
        return load_predictor(a.model, runtime=a.runtime, precision=a.precision, unsure=a.uncertainty)
    from serving.client import TLS  # gRPC; everything that needs TensorFlow is done by the server

    options: dict[str, Any] = {"tls": TLS(**tls)} if any(tls.values()) else {}
    wait = _WAIT if a.wait is None else a.wait
    return load_predictor(a.model, runtime=a.runtime, precision=a.precision, wait=wait, **options)


def _row(p: Prediction) -> tuple[str, str, str, str]:
    area = "-" if p.landslide_area_m2 is None else f"{p.landslide_area_m2 / 1e4:.2f}"
    return Path(p.input).name, f"{p.mean_probability:.4f}", f"{p.landslide_fraction:.2%}", area
