"""The command line: parse, call, print. A command imports what it needs when it runs, so ``--help`` answers at once."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tf_landslide import __version__
from tf_landslide.errors import LandslideError
from tf_landslide.startup import start_tensorflow


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns 0 when done, 2 after ``error: …`` on standard error for a user's mistake."""
    arguments = _parse(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except LandslideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"error: {error.filename or 'system'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = "; it goes on from its last epoch with --resume" if arguments.run is _train else ""
        print(f"error: interrupted{hint}", file=sys.stderr)
        return 130
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse; ``train`` takes its ``key=value`` settings anywhere on the line, which argparse alone does not."""
    from serving.flags import spelt_out

    parser = _parser()
    words = sys.argv[1:] if argv is None else argv
    arguments, rest = parser.parse_known_args(spelt_out(words) if words[:1] == ["serve"] else words)
    if rest and hasattr(arguments, "overrides") and not any(word.startswith("-") for word in rest):
        arguments.overrides += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def _parser() -> argparse.ArgumentParser:
    from serving.flags import add_flags

    parser = _Parser(prog="tf-landslide", description="Landslide mapping with Keras and TensorFlow.")
    parser.add_argument("--version", action="version", version=f"tf-landslide {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name, run, help, description=None):
        sub = commands.add_parser(name, help=help, description=description or help[0].upper() + help[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    synth = command("synth", _synth, "write the synthetic sample landscape")
    synth.add_argument("dir", metavar="DIR", help="a new folder")
    for split, n in (("train", 192), ("valid", 48), ("test", 64)):
        synth.add_argument(f"--{split}", type=int, default=n, metavar="N", help=f"{split} patches (default {n})")
    synth.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal files (default 0)")

    download = command("download", _download, "fetch the real Landslide4Sense (needs internet; resumes; checks sums)")
    download.add_argument("dir", metavar="DIR", help="folder to unpack into")
    download.add_argument("--mirror", metavar="URL", help="a server that answers as Zenodo does")

    inspect = command("inspect", _inspect, "count, check and describe a dataset; status 2 where anything is broken")
    inspect.add_argument("dir", metavar="DIR", help="a folder of HDF5 patches")
    inspect.add_argument("--layout", help="band layout (default: by the number of bands)")
    inspect.add_argument("--allow-missing", action="store_true", help="take NaN as a missing value, not as a fault")
    inspect.add_argument("--figure", metavar="OUT", help="folder for pictures of every band, the mask outlined in red")
    inspect.add_argument(
        "--patch", nargs="+", metavar="SPLIT/N", help="patches to draw (default: the first with a landslide)"
    )
    inspect.add_argument("--json", action="store_true", help="print JSON")

    train = command("train", _train, "train a model from a config, choose its threshold, judge it")
    train.add_argument("config", metavar="CONFIG", help="a YAML file, see configs/")
    train.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. training.epochs=10")
    train.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches")
    train.add_argument("--out", required=True, metavar="RUN", help="the run folder to make")
    train.add_argument("--resume", action="store_true", help="go on with the run that RUN holds")
    train.add_argument("--json", action="store_true", help="print the scores as JSON")

    evaluate = command("evaluate", _evaluate, "judge a run on a split, with its own threshold")
    evaluate.add_argument("model", metavar="RUN", help="a run folder")
    evaluate.add_argument("--data", required=True, metavar="DIR", help="a folder of HDF5 patches")
    evaluate.add_argument("--split", default="test", help="train, valid or test (default test)")
    evaluate.add_argument("--out", metavar="REPORT", help="folder for the report (default RUN/report_SPLIT)")
    evaluate.add_argument("--json", action="store_true", help="print the scores as JSON")

    predict = command("predict", _predict, "predict HDF5 patches: probability .npy, mask and overlay PNG")
    predict.add_argument("model", metavar="MODEL", help="a run, a SavedModel folder, or grpc://HOST:PORT/NAME")
    predict.add_argument("inputs", nargs="+", metavar="INPUT.h5", help="patches in the model's band layout, any size")
    predict.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    predict.add_argument("--threshold", type=float, metavar="P", help="default: the model's own")
    predict.add_argument(
        "--runtime", default="auto", metavar="NAME", help="for a SavedModel: tensorflow, openvino or auto"
    )
    predict.add_argument("--allow-missing", action="store_true", help="take NaN as a missing value, not as a fault")
    for name, what in (("ca", "authority of a grpcs:// server"), ("cert", "own certificate"), ("key", "its key")):
        predict.add_argument(f"--tls-{name}", metavar="PEM", help=f"{what}, for TLS")
    predict.add_argument("--json", action="store_true", help="print the results as JSON")

    export = command("export", _export, "publish a run's model as a versioned SavedModel")
    export.add_argument("model", metavar="RUN", help="a run folder")
    export.add_argument("--to", required=True, metavar="MODELS", help="the folder that a model server watches")
    export.add_argument("--name", help="of the model (default: the config's)")
    export.add_argument("--json", action="store_true", help="print JSON")

    serve = command("serve", _serve, "serve exported models: TensorFlow Serving's API, embedded")
    serve.add_argument("models", metavar="MODELS", help="a folder of models, as export writes")
    add_flags(serve)
    serve.set_defaults(rest_api_port=8501)

    models = command("models", _models, "list architectures, encoders and the paper's models with their sizes")
    models.add_argument("--json", action="store_true", help="print JSON (default: Markdown)")

    demo = command("demo", _demo, "all of it on the synthetic sample landscape")
    demo.add_argument("--out", default="demo", metavar="DIR", help="folder to make (default demo)")
    demo.add_argument("--no-page", action="store_true", help="do not end in the page (it never does but on a terminal)")
    demo.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse, with its errors in our one-line form."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _print_json(value) -> None:
    print(json.dumps(value, indent=2))


def _table(header: tuple[str, ...], rows: list[tuple]) -> str:
    """A plain table: the first column to the left, the others to the right."""
    cells = [header, *[tuple(str(cell) for cell in row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row):
        return "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, cells[1:])])


def _scores_table(rows: dict[str, dict]) -> str:
    names = ("f1", "precision", "recall", "iou")
    header = ("", "F1", "precision", "recall", "IoU")
    return _table(header, [(label, *(f"{row[name]:.4f}" for name in names)) for label, row in rows.items()])


def _synth(a) -> None:
    from tf_landslide.data.synthetic import write_sample

    sizes = write_sample(a.dir, train=a.train, valid=a.valid, test=a.test, seed=a.seed)
    print(f"{a.dir}: {', '.join(f'{n} {split}' for split, n in sizes.items())} patches (synthetic)")


def _download(a) -> None:
    from tf_landslide.data.download import ZENODO, download

    sizes = download(a.dir, mirror=a.mirror or ZENODO)
    print(f"{a.dir}: {', '.join(f'{n} {split}' for split, n in sizes.items())} patches")


def _inspect(a) -> None:
    from tf_landslide.data.inspection import draw_patches, inspect_data

    if a.patch and not a.figure:
        raise LandslideError("--patch chooses what to draw; say where with --figure OUT")
    found = inspect_data(a.dir, a.layout, allow_missing=a.allow_missing)
    if a.json:
        _print_json(found.as_dict())
    else:
        print(_inspection_text(found))
    if a.figure:
        for picture in draw_patches(a.dir, found.layout, a.figure, a.patch):
            print(f"drawn: {picture}", file=sys.stderr)
    if found.problems:
        raise LandslideError(f"{a.dir}: {len(found.problems)} problems, listed above")


def _inspection_text(found) -> str:
    lines = [f"{found.data_dir}: layout {found.layout}"]
    for split, s in found.splits.items():
        shape = " x ".join(map(str, s.shape or ()))
        share = s.landslide_patches / s.pairs if s.pairs else 0
        lines += [
            "",
            f"{split}: {s.images} images, {s.masks} masks, {s.pairs} sound pairs, {shape}",
            f"  landslide: {s.landslide_fraction:.2%} of the pixels, {s.landslide_patches} patches ({share:.0%})",
            "",
        ]
        rows = [
            (b.name, b.unit, *map(_number, (b.mean, b.std, b.minimum, b.maximum, b.stored_mean)), b.missing)
            for b in s.bands
        ]
        header = ("  band", "unit", "mean", "std", "min", "max", "stored mean", "missing")
        lines += [_table(header, [(f"  {row[0]}", *row[1:]) for row in rows])]
    lines += ["", *(f"problem: {problem}" for problem in found.problems)] if found.problems else ["", "no problems"]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _train(a) -> None:
    from tf_landslide.training.config import load_config

    config = load_config(a.config, a.overrides)
    start_tensorflow()
    from tf_landslide.training.run import train

    run = train(config, a.data, a.out, resume=a.resume)
    metrics = run.metrics()
    if a.json:
        _print_json(metrics)
    else:
        print(_scores_table(metrics))
        print(f"threshold {run.threshold:.3f}, chosen on validation; report: {run.path / 'report' / 'report.md'}")


def _evaluate(a) -> None:
    start_tensorflow()
    from tf_landslide.training.run import Run, open_sources

    run = Run.open(a.model)
    run.metrics()  # an unfinished run is refused before any reading
    source = open_sources(run.config, a.data, splits=[a.split])[a.split]
    from tf_landslide.evaluation.report import evaluate_split

    out = Path(a.out or run.path / f"report_{a.split}")
    scores = evaluate_split(run, source, a.split, out)
    if a.json:
        _print_json(scores)
    else:
        print(_scores_table({a.split: scores}))
        print(f"threshold {scores['threshold']:.3f}, chosen on validation; report: {out / 'report.md'}")


def _predict(a) -> None:
    from tf_landslide.predictor import is_server, load_predictor

    tls = {"authority": a.tls_ca, "certificate": a.tls_cert, "key": a.tls_key}
    if is_server(a.model):  # everything that needs TensorFlow is done by the server
        from serving.client import TLS

        options = {"tls": TLS(**tls)} if any(tls.values()) else {}
    elif any(tls.values()):
        raise LandslideError("--tls-ca, --tls-cert and --tls-key are for a model on a server, grpcs://HOST:PORT/NAME")
    else:
        start_tensorflow()
        options = {}
    predictor = load_predictor(a.model, runtime=a.runtime, **options)
    from tf_landslide.prediction import predict_files

    results = predict_files(predictor, a.inputs, a.out, threshold=a.threshold, allow_missing=a.allow_missing)
    if a.json:
        _print_json([result.as_dict() for result in results])
        return
    rows = [
        (Path(r.input).name, f"{r.mean_probability:.4f}", f"{r.landslide_fraction:.2%}", *_area(r)) for r in results
    ]
    print(_table(("input", "mean probability", "landslide", "hectares"), rows))
    print(f"threshold {results[0].threshold:.3f}; results in {a.out}")


def _area(result) -> tuple[str]:
    return ("-" if result.landslide_area_m2 is None else f"{result.landslide_area_m2 / 1e4:.2f}",)


def _export(a) -> None:
    start_tensorflow()
    from tf_landslide.training.run import Run

    run = Run.open(a.model)
    from tf_landslide.export import export_run

    version = export_run(run, a.to, a.name)
    if a.json:
        _print_json({"model": str(version)})
    else:
        print(f"{version}: equal to the live model")


def _serve(a) -> None:
    for name in ("model_base_path", "model_config_file"):
        if getattr(a, name):
            raise LandslideError(f"--{name} names what to serve, and so does MODELS; use python -m serving.server")
    from serving.server import models_under, serve

    models_under(a.models)
    serve(a, a.models)


def _models(a) -> None:
    from tf_landslide.catalogue import catalogue_markdown, load_catalogue

    catalogue = load_catalogue()
    if a.json:
        _print_json(catalogue)
    else:
        print(catalogue_markdown(catalogue))


def _demo(a) -> None:
    start_tensorflow()
    from tf_landslide.demo import run_demo

    result = run_demo(a.out)
    if a.json:
        _print_json(result)
        return
    print("\nTest split of the SYNTHETIC sample landscape (says nothing about real landslides):\n")
    print(_scores_table(result["scores"]))
    print(f"\nreport    {result['report']}\nmodel     {result['model']}\npictures")
    print("\n".join(f"  {path}" for path in result["pictures"]))
    print(f"\ndone in {result['seconds']:.0f} s")
    if a.no_page or not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"the page: python gradio_app.py --models {Path(result['model']).parents[1]}")
        return
    from tf_landslide.page.app import launch
    from tf_landslide.page.library import Library, find_models

    print("Ctrl-C ends the page")
    launch(Library(find_models([Path(result["model"]).parents[1]])))
