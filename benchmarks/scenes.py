"""Mapping of whole scenes, measured; each run has a process of its own. Let nothing else work meanwhile.

    python benchmarks/scenes.py memory MODEL [--sizes 2048 8192 10980]    highest resident memory at equal polygon count
    python benchmarks/scenes.py tile   MODEL [--sizes 10980]              time of a whole tile, by stage
    python benchmarks/scenes.py speed  MODEL [--sizes 4096] [--rounds 5]  per computed pixel, beside the bare predictor
    python benchmarks/scenes.py objects MODEL [--sizes 8192]              the same refined by the shipped rules
    python benchmarks/scenes.py seams  MODEL [--windows 128 256 512]      F1 and gradients across seams, by window

MODEL is an export of six channels, or a run. Scenes are synthetic; large ones repeat a small one and are written window
by window. Results are added to a JSON file (--out). No threshold is reached in ``memory``, ``tile`` and ``speed``, so
that no polygons are found at any size; what they take is measured by itself (docs/mapping.md).
"""

from __future__ import annotations

import argparse
import json
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
    facts: dict, model: str, scene: str, dem: str, folder: str, rules: str | None = None
) -> tuple[Calls, Describe]:
    """One map of a scene, all of it; refined by rules where some are named."""
    from tf_landslide.jobs.map import map_scene
    from tf_landslide.jobs.map_options import MapOptions
    from tf_landslide.objects.rules import Rules
    from tf_landslide.predict.load import load_predictor

    predictor = load_predictor(model)
    facts |= {"runtime": predictor.runtime, "loaded_mb": peak_mb()}
    started = time.perf_counter()
    options = MapOptions(threshold=1.0, minimum_area=1e12, rules=Rules.read(rules) if rules else None)
    summary = map_scene(opened(predictor, Path(scene), Path(dem)), predictor, Path(folder) / "map", options)
    facts |= {"seconds": round(time.perf_counter() - started, 2), "stages": summary["seconds"]}
    facts |= {"computed_pixels": summary["computed_pixels"], "landslides": summary["landslides"]}
    return {}, dict


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


# --- the driver


def contender(kind: str, **task) -> Contender:
    return Contender(sys.executable, "scenes.py", {"kind": kind, **task})


def at_sizes(args: argparse.Namespace, folder: Path) -> dict:
    results, sizes = {}, {"tile": [10980], "objects": [8192], "memory": [2048, 8192, 10980]}[args.what]
    rules = {"rules": "landslide"} if args.what == "objects" else {}
    for size in args.sizes or sizes:
        scene, dem = large_scene(folder, size)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            facts = once(contender("mapped", model=args.model, scene=str(scene), dem=str(dem), folder=out, **rules))
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


def of_seams(args: argparse.Namespace, folder: Path) -> dict:
    facts = once(contender("seams", model=args.model, folder=str(folder), windows=args.windows, warmup=0))
    print(json.dumps(facts, indent=1), flush=True)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("memory", "tile", "objects", "speed", "seams"))
    parser.add_argument("model")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--windows", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/mapping.json"))
    args = parser.parse_args()
    do = {"memory": at_sizes, "tile": at_sizes, "objects": at_sizes, "speed": speed, "seams": of_seams}[args.what]
    with tempfile.TemporaryDirectory() as folder:
        result = do(args, Path(folder))
    before = json.loads(args.out.read_text()) if args.out.exists() else {}
    args.out.write_text(json.dumps({**before, args.what: {"model": Path(args.model).name, **result}}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        work({"mapped": mapped, "speed": beside_the_bare_model, "seams": seams})
    else:
        main()
