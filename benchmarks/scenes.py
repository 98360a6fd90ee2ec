"""Mapping of whole scenes, measured; each run has a process of its own. Let nothing else work meanwhile.

    python benchmarks/scenes.py memory MODEL [--sizes 2048 8192 10980]    highest resident memory at equal polygon count
    python benchmarks/scenes.py tile   MODEL [--sizes 10980]              time of a whole tile, by stage
    python benchmarks/scenes.py speed  MODEL [--sizes 4096] [--rounds 5]  per computed pixel, beside the bare predictor
    python benchmarks/scenes.py objects MODEL [--sizes 8192]              the same refined by the shipped rules
    python benchmarks/scenes.py seams  MODEL [--windows 128 256 512]      F1 and gradients across seams, by window
    python benchmarks/scenes.py peers  PYTHON [--sizes 2048] [--rounds 3] PyTorch's network, ours by conversion: a plain
                                                                          loop of rasterio, and geoai

PYTHON is an interpreter that has geoai-py, whose needs hold all that the loop takes. MODEL is an export, or a run, of
six channels; ``tile --precision`` computes it in bfloat16 or int8 without proof: random weights have nothing to prove.
Scenes are synthetic; large ones repeat a small one and are written window by window. Results are added to a JSON file
(--out). No threshold is reached in ``memory``, ``tile``, ``speed`` and ``peers``, so that no polygons are found at any
size; what they take is measured by itself (docs/mapping.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from contest import Calls, Contender, Describe, contest, median_seconds, once, peak_mb, speed_ratio, work

REPEATED = 1024  # side of what a large scene repeats


def large_scene(folder: Path, size: int) -> tuple[Path, Path]:
    """A stack and its terrain model, on one grid, of a synthetic scene repeated; written a square at a time."""
    import rasterio
    from rasterio.windows import Window

    from tf_landslide.data.landscape import make_scene

    scene = make_scene([1], REPEATED)
    stored, dem = np.moveaxis(scene.original[..., [1, 2, 3, 7]], -1, 0).astype(np.uint16), scene.original[..., 13]
    paths = folder / f"{size}.tif", folder / f"{size}_dem.tif"
    common = {"driver": "GTiff", "height": size, "width": size, "crs": "EPSG:32654", "tiled": True, "compress": "LZW"}
    common |= {"transform": rasterio.Affine(10, 0, 569000, 0, -10, 4737000), "BIGTIFF": "IF_SAFER"}
    for path, values, names in (
        (paths[0], stored, ("blue", "green", "red", "nir")),
        (paths[1], dem[None].astype(np.float32), ("dem",)),
    ):
        with rasterio.open(path, "w", count=len(values), dtype=values.dtype, **common) as file:
            for i, name in enumerate(names, 1):
                file.set_band_description(i, name)
            for top in range(0, size, REPEATED):
                for left in range(0, size, REPEATED):
                    height, width = min(REPEATED, size - top), min(REPEATED, size - left)
                    file.write(values[:, :height, :width], window=Window(left, top, width, height))
    return paths


def opened(predictor, scene: Path, dem: Path):
    from tf_landslide.scenes.inputs import Inputs, open_inputs

    return open_inputs(Inputs((str(scene),), (dem,)), predictor.card.channel_recipe)


# --- contenders, in processes of their own


def mapped(
    facts: dict, model: str, scene: str, dem: str, folder: str, rules: str | None = None, precision: str = "float32"
) -> tuple[Calls, Describe]:
    """One map of a scene, all of it; refined by rules where some are named."""
    from ours import short_graph, short_predictor

    from tf_landslide.jobs.map import map_scene
    from tf_landslide.jobs.map_options import MapOptions
    from tf_landslide.objects.rules import Rules
    from tf_landslide.predict.load import load_predictor

    if precision == "float32":
        predictor = load_predictor(model)
    else:
        predictor = short_predictor(short_graph(model, precision), model, precision, folder)
    facts |= {"runtime": predictor.runtime, "loaded_mb": peak_mb()}
    started = time.perf_counter()
    options = MapOptions(threshold=1.0, minimum_area=1e12, rules=Rules.read(rules) if rules else None)
    summary = map_scene(opened(predictor, Path(scene), Path(dem)), predictor, Path(folder) / "map", options)
    facts |= {"seconds": round(time.perf_counter() - started, 2), "stages": summary["seconds"]}
    facts |= {"computed_pixels": summary["computed_pixels"], "landslides": summary["landslides"]}
    return {}, dict


def whole_map(facts: dict, model: str, scene: str, dem: str, folder: str) -> tuple[Calls, Describe]:
    """A map with all that belongs to it: rasters, polygons, pictures."""
    from tf_landslide.jobs.map import map_scene
    from tf_landslide.jobs.map_options import MapOptions
    from tf_landslide.predict.load import load_predictor

    predictor = load_predictor(model)
    facts |= {"runtime": predictor.runtime}
    options = MapOptions(threshold=1.0, minimum_area=1e12)
    return {
        "map": lambda: map_scene(opened(predictor, Path(scene), Path(dem)), predictor, Path(folder) / "map", options)
    }, dict


def beside_the_bare_model(facts: dict, model: str, scene: str, dem: str, folder: str) -> tuple[Calls, Describe]:
    """A scene's rasters, and the predictor on as large batches of what it has read once."""
    from tf_landslide.jobs.rasters import map_folder, map_rasters
    from tf_landslide.predict.load import load_predictor
    from tf_landslide.scenes.blocks import tiling
    from tf_landslide.scenes.grid import Window
    from tf_landslide.scenes.mapper import Mapping, batch_of

    predictor = load_predictor(model)
    opened_scene = opened(predictor, Path(scene), Path(dem))
    cut = tiling(opened_scene.grid.shape)
    batch, side = batch_of(predictor, cut), cut.rows.window
    mapping = Mapping(opened_scene, predictor, cut, batch)
    given = np.stack([mapping.channels(Window(0, 128 * i, side, side)) for i in range(batch)])
    given = np.nan_to_num(given)

    def whole():
        with map_folder(Path(folder) / "map"):
            map_rasters(opened_scene, predictor, Path(folder) / "map", cut, threshold=1.0, tags={})

    rows, columns = opened_scene.grid.shape
    inner = side - cut.rows.overlap  # a margin of half the overlap on either side
    facts |= {"runtime": predictor.runtime, "batch_pixels": batch * side**2, "computed_pixels": cut.computed_pixels}
    facts |= {"halo": round(cut.computed_pixels / (rows * columns), 3), "halo_formula": round((side / inner) ** 2, 3)}
    return {"bare": lambda: predictor(given), "map": whole}, dict


def seams(facts: dict, model: str, folder: str, windows: list[int], size: int = 1024) -> tuple[Calls, Describe]:
    """F1 and the gradient across seams over that of a single shot, by window."""
    import rasterio

    from tf_landslide.jobs.rasters import map_folder, map_rasters
    from tf_landslide.predict.load import load_predictor
    from tf_landslide.scenes.blocks import tiling
    from tf_landslide.scenes.synthetic import score, write_scene

    predictor = load_predictor(model)
    files = write_scene(Path(folder) / "scene.tif", size=size, seed=5)
    opened_scene = opened(predictor, files.scene, files.dem)

    def made(window: int):
        cut = tiling((size, size), window, window // 4, window // 16)
        with map_folder(Path(folder) / f"{window}"):
            paths = map_rasters(
                opened_scene,
                predictor,
                Path(folder) / f"{window}",
                cut,
                threshold=predictor.card.threshold,
                tags={},
            )
        with rasterio.open(paths[0]) as file:
            return cut, file.read(1), score(paths[1], files.truth)

    _, whole, facts["single shot"] = made(-(-size // 32) * 32)
    for window in windows:
        cut, found, facts[str(window)] = made(window)
        seam = [start + cut.rows.overlap // 2 - 1 for start in cut.rows.starts[1:]]
        ratios = []
        for axis in (0, 1):
            steps = [np.nanmean(np.abs(np.diff(x, axis=axis)).take(seam, axis)) for x in (found, whole)]
            ratios.append(float(steps[0] / steps[1]))
        facts[str(window)] |= {"seam_ratio": round(max(ratios), 4)}
        facts[str(window)] |= {"differs_by": round(float(np.nanmean(np.abs(found - whole))), 5)}
    return {}, dict


# --- contenders in the peers' environment


def plain_network(facts: dict, scene: str, dem: str, folder: str) -> tuple[Calls, Describe]:
    """segmentation_models.pytorch's U-Net/ResNet-34, its batch norms used to the scene: FOLDER/unet.pth.

    FOLDER/channels.tif is what ``geoai`` is given, since it makes no channels: six bands of float32.
    """
    import rasterio
    import torch
    from contest import versions
    from peers import _unet_resnet34

    facts["versions"] = versions("segmentation_models_pytorch", "torch")
    torch.manual_seed(0)
    model = _unet_resnet34().train()
    with rasterio.open(scene) as bands, rasterio.open(dem) as terrain, torch.no_grad():
        profile = bands.profile | {"count": 6, "dtype": "float32"}
        with rasterio.open(Path(folder) / "channels.tif", "w", **profile) as file:
            file.write(_channels(bands, terrain, None))
        for _ in range(3):
            for left in range(0, bands.width - 511, 512):
                model(torch.from_numpy(_channels(bands, terrain, _window(left, left)))[None])
    torch.save(model.state_dict(), Path(folder) / "unet.pth")
    return {}, dict


def _window(left: int, top: int, side: int = 512):
    from rasterio.windows import Window

    return Window(left, top, side, side)


def _channels(bands, terrain, window) -> np.ndarray:
    """(6, height, width) float32: red, green, blue, NDVI, slope by Horn's method as ``gdaldem`` has it, elevation."""
    blue, green, red, nir = bands.read(window=window).astype(np.float32) * 1e-4
    elevation = terrain.read(1, window=window)
    near = np.pad(elevation, 1, "edge")
    across, along = near[:, :-2] + 2 * near[:, 1:-1] + near[:, 2:], near[:-2] + 2 * near[1:-1] + near[2:]
    down, right = (across[2:] - across[:-2]) / 80, (along[:, 2:] - along[:, :-2]) / 80  # pixels of 10 m
    slope = np.degrees(np.arctan(np.hypot(down, right)))
    return np.stack([red, green, blue, (nir - red) / (nir + red), slope, elevation]).astype(np.float32)


def plain_loop(facts: dict, scene: str, dem: str, folder: str, overlap: int = 128) -> tuple[Calls, Describe]:
    """What one writes in an afternoon: windows read by rasterio, PyTorch in batches of four, blended, one GeoTIFF."""
    import rasterio
    import torch
    from contest import versions
    from peers import _unet_resnet34

    facts["versions"] = versions("rasterio", "torch")
    model = _unet_resnet34().eval()
    model.load_state_dict(torch.load(Path(folder) / "unet.pth"))
    model = model.to(memory_format=torch.channels_last)
    near = np.minimum(np.arange(512), np.arange(512)[::-1]) + 1.0
    weight = np.minimum(np.minimum.outer(near, near) / (overlap / 2), 1).astype(np.float32)

    def whole():
        with rasterio.open(scene) as bands, rasterio.open(dem) as terrain, torch.inference_mode():
            summed, weights = np.zeros((2, *bands.shape), np.float32)
            stops = [sorted({*range(0, n - 512, 512 - overlap), n - 512}) for n in bands.shape]
            places = [(top, left) for top in stops[0] for left in stops[1]]
            for i in range(0, len(places), 4):
                some = places[i : i + 4]
                x = np.stack([_channels(bands, terrain, _window(left, top)) for top, left in some])
                x = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
                for (top, left), answer in zip(some, model(x).sigmoid().numpy()[:, 0], strict=True):
                    summed[top : top + 512, left : left + 512] += answer * weight
                    weights[top : top + 512, left : left + 512] += weight
            profile = bands.profile | {"count": 1, "dtype": "float32"}
            with rasterio.open(Path(folder) / "plain.tif", "w", **profile) as file:
                file.write(summed / weights, 1)

    return {"map": whole}, dict


def geoai(facts: dict, folder: str, overlap: int) -> tuple[Calls, Describe]:
    """``geoai``'s inference on the channels' file: it divides by 255 and takes two classes' softmax."""
    import torch
    from contest import versions
    from geoai.train import semantic_inference_on_geotiff
    from peers import _unet_resnet34

    class TwoClasses(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = _unet_resnet34()
            self.model.load_state_dict(torch.load(Path(folder) / "unet.pth"))

        def forward(self, x):
            logits = self.model(x * 255)
            return torch.cat([torch.zeros_like(logits), logits], 1)

    facts["versions"] = versions("geoai-py", "torch", "rasterio")
    model = TwoClasses().eval().to(memory_format=torch.channels_last)
    paths = [str(Path(folder) / name) for name in ("channels.tif", f"geoai_{overlap}.tif")]

    def whole():
        semantic_inference_on_geotiff(
            model, *paths, overlap=overlap, num_channels=6, probability_path=paths[1] + "_p.tif", quiet=True
        )

    return {"map": whole}, dict


# --- the driver


PEERS = {"network": plain_network, "plain": plain_loop, "geoai": geoai, "whole": whole_map}


def contender(kind: str, **task) -> Contender:
    return Contender(sys.executable, "scenes.py", {"kind": kind, **task})


def at_sizes(args: argparse.Namespace, folder: Path) -> dict:
    results, sizes = {}, {"tile": [10980], "objects": [8192], "memory": [2048, 8192, 10980]}[args.what]
    options = {"precision": args.precision} | ({"rules": "landslide"} if args.what == "objects" else {})
    for size in args.sizes or sizes:
        scene, dem = large_scene(folder, size)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            facts = once(contender("mapped", model=args.model, scene=str(scene), dem=str(dem), folder=out, **options))
        facts.pop("first_seconds", None)
        results[str(size)] = facts
        print(f"{size}: {facts['peak_mb']:,.0f} MB at most, {facts['seconds']:,.1f} s", flush=True)
    peaks = [facts["peak_mb"] for facts in results.values()]
    return {**results, "highest_over_lowest": round(max(peaks) / min(peaks), 3)}


def speed(args: argparse.Namespace, folder: Path) -> dict:
    scene, dem = large_scene(folder, (args.sizes or [4096])[0])
    task = contender("speed", model=args.model, scene=str(scene), dem=str(dem), folder=str(folder), warmup=0)
    result = contest({"map": task}, {"bare": 20, "map": 1}, args.rounds)["map"]
    if "error" in result:
        return result
    facts = result["facts"]
    bare, whole = median_seconds(result, "bare"), median_seconds(result, "map")
    share = facts["computed_pixels"] / whole / (facts["batch_pixels"] / bare)
    low, high = (
        value * facts["computed_pixels"] / facts["batch_pixels"]
        for value in speed_ratio(result, result, "map", "bare")[1:]
    )
    print(f"{share:.3f} ({low:.3f}-{high:.3f}) of the bare model's speed; halo {facts['halo']}", flush=True)
    return {**facts, "bare_seconds": bare, "map_seconds": whole, "share": [share, low, high]}


def peers(args: argparse.Namespace, folder: Path) -> dict:
    """Ours beside others on one scene, by one set of weights; probabilities are compared in the first window."""
    import rasterio

    size = (args.sizes or [2048])[0]
    scene, dem = large_scene(folder, size)
    task = {"scene": str(scene), "dem": str(dem), "folder": str(folder)}
    once(Contender(args.model, "scenes.py", {"kind": "network", **task}))
    command = [sys.executable, "-m", "tf_landslide", "convert", str(folder / "unet.pth"), "--model", "unet_resnet34"]
    words = ["--channels", "six", "--layout", "landslide4sense", "--out", str(folder / "run")]
    subprocess.run([*command, *words], check=True)
    subprocess.run([*command[:3], "export", str(folder / "run"), "--to", str(folder / "models")], check=True)
    (export,) = (folder / "models").iterdir()
    contenders = {"ours": contender("whole", model=str(export), warmup=0, **task)}
    contenders["plain"] = Contender(args.model, "scenes.py", {"kind": "plain", "warmup": 0, **task})
    for overlap in (128, 256):
        about = {"kind": "geoai", "folder": str(folder), "overlap": overlap, "warmup": 0}
        contenders[f"geoai, overlap {overlap}"] = Contender(args.model, "scenes.py", about)
    results = contest(contenders, {"map": 1}, args.rounds)
    with rasterio.open(folder / "map/probability.tif") as file:
        ours = file.read(1)
    for name, written in (("plain", "plain.tif"), ("geoai, overlap 128", "geoai_128.tif_p.tif")):
        with rasterio.open(folder / written) as file:
            apart = np.abs(file.read(file.count) - ours)[:384, :384]  # what one window covers, before any blending
        results[name]["facts"]["apart"] = [float(f"{value:.2g}") for value in (np.nanmean(apart), np.nanmax(apart))]
    for name, result in results.items():
        result["seconds"] = median_seconds(result, "map")
        result["ours_over_it"] = speed_ratio(results["ours"], result, "map")
        print(name, result["seconds"], result["ours_over_it"], result["facts"].get("apart", ""), flush=True)
    return {"size": size, **results}


def of_seams(args: argparse.Namespace, folder: Path) -> dict:
    facts = once(contender("seams", model=args.model, folder=str(folder), windows=args.windows, warmup=0))
    print(json.dumps(facts, indent=1), flush=True)
    return facts


DO = {"memory": at_sizes, "tile": at_sizes, "objects": at_sizes, "speed": speed, "seams": of_seams, "peers": peers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=DO)
    parser.add_argument("model")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "int8"))
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--windows", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/mapping.json"))
    args = parser.parse_args()
    if args.precision != "float32" and args.what != "tile":
        parser.error("--precision is for tile")
    with tempfile.TemporaryDirectory() as folder:
        result = DO[args.what](args, Path(folder))
    before = json.loads(args.out.read_text()) if args.out.exists() else {}
    what = args.what if args.precision == "float32" else f"{args.what}, {args.precision}"
    args.out.write_text(json.dumps({**before, what: {"model": Path(args.model).name, **result}}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        work({"mapped": mapped, "speed": beside_the_bare_model, "seams": seams} | PEERS)
    else:
        main()
