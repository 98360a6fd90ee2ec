"""``tf-landslide convert``."""

from __future__ import annotations

from pathlib import Path

from serving.startup import start_tensorflow
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json
from tf_landslide.core.errors import LandslideError, printable


def add(commands: Commands) -> None:
    parser = add_command(commands, "convert", run, "make a run of a PyTorch checkpoint, or a state dict of a run")
    parser.add_argument(
        "model",
        metavar="CHECKPOINT",
        help="a .pth, .ckpt or .safetensors file, its URL, or OWNER/REPOSITORY/FILE on Hugging Face; or a run folder "
        "(with --to-torch)",
    )
    parser.add_argument("--model", dest="config", metavar="CONFIG", help="whose network it is: unet_resnet34, …")
    parser.add_argument(
        "--channels",
        help="recipe, or names with commas (default fourteen_stored: the bands as the paper's code takes them)",
    )
    parser.add_argument("--layout", help="band layout, or its YAML file (default landslide4sense)")
    parser.add_argument("--threshold", type=float, help="(default 0.5, the paper's)")
    parser.add_argument("--sha256", help="checksum that the file must have")
    parser.add_argument("--out", metavar="RUN", help="the run folder to make")
    parser.add_argument("--to-torch", metavar="FILE", help="write the run's state dict: .pth or .safetensors")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="of the config, e.g. model.options.filters=256"
    )
    parser.set_defaults(anywhere="overrides")
    parser.add_argument(
        "--prefix", help="of the network's tensors, where a checkpoint holds several networks: ema_model.module."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(a: Arguments) -> None:
    if a.to_torch:
        _to_torch(a)
    else:
        _from_torch(a)


def _from_torch(a: Arguments) -> None:
    if not a.config or not a.out:
        raise LandslideError("convert needs --model CONFIG (whose network it is) and --out RUN")
    from tf_landslide.runs.config import load_config  # pydantic

    named = a.channels or "fourteen_stored"
    channels = named if "," not in named else f"[{named}]"
    layout = a.layout or "landslide4sense"
    settings = [f"data.channels={channels}", f"data.layout={layout}", "data.normalise=false", "data.augment=false"]
    threshold = 0.5 if a.threshold is None else a.threshold
    config = load_config(a.config, [*settings, f"threshold={threshold}", *a.overrides])
    from tf_landslide.data.fetch import checkpoint_file  # what starts slowly
    from tf_landslide.metrics.counts import threshold_bin

    if config.threshold is not None:
        threshold_bin(config.threshold)  # one that is refused, before anything is downloaded
    path, source = checkpoint_file(a.model, a.sha256)
    start_tensorflow()
    from tf_landslide.jobs.convert import convert  # TensorFlow

    made = convert(path, config, Path(a.out), source, a.prefix)
    if a.json:
        print_json(
            {
                "run": str(made.run.path),
                "tensors": made.tensors,
                "parameters": made.parameters,
                "left_out": made.left_out,
            }
        )
        return
    print(f"{made.run.path}: {made.tensors:,} tensors, {made.parameters:,} parameters; threshold {config.threshold:g}")
    if made.left_out:
        shown = ", ".join(printable(name[:80]) for name in made.left_out[:4]) + (" …" if len(made.left_out) > 4 else "")
        print(f"left out, since the network does not compute with them: {shown}")


def _to_torch(a: Arguments) -> None:
    of_a_checkpoint = ("config", "out", "prefix", "channels", "layout", "threshold", "sha256")
    if a.overrides or any(getattr(a, name) is not None for name in of_a_checkpoint):
        raise LandslideError(
            "--to-torch writes a run's weights; leave out --model, --out, --prefix, --channels, --layout, --threshold, "
            "--sha256 and settings"
        )
    from tf_landslide.runs.folder import Run  # pydantic

    run = Run.open(a.model)
    start_tensorflow()
    from tf_landslide.jobs.convert import to_torch  # TensorFlow

    beside = to_torch(run, Path(a.to_torch))
    if a.json:
        print_json({"state_dict": a.to_torch, "normalisation": str(beside)})
    else:
        segformer = run.config.model.architecture == "hf_segformer"
        loads = "from_pretrained takes it" if segformer else "loads with strict=True"
        print(f"{a.to_torch}: {loads}; how its channels are normalised: {beside}")
