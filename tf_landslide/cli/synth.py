"""``tf-landslide synth``."""

from __future__ import annotations

from pathlib import Path

from tf_landslide.cli.parsing import Arguments, Commands, add_command, two_numbers
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra


def add(commands: Commands) -> None:
    parser = add_command(commands, "synth", run, "write the synthetic sample landscape, as patches or as a scene")
    parser.add_argument("dir", metavar="DIR", nargs="?", help="a new folder for patches")
    for split, n in (("train", 192), ("valid", 48), ("test", 64)):
        parser.add_argument(f"--{split}", type=int, default=n, metavar="N", help=f"{split} patches (default {n})")
    parser.add_argument("--scene", metavar="FILE.tif", help="write a georeferenced scene, its DEM and its landslides")
    parser.add_argument("--scene-size", type=int, default=512, metavar="PX", help="its side (default 512)")
    parser.add_argument(
        "--scene-crs", default="utm", metavar="NAME", help="utm, its DEM in degrees; or geographic, its DEM in UTM"
    )
    parser.add_argument("--before", action="store_true", help="write the scene before its landslides too")
    parser.add_argument(
        "--before-shift",
        type=two_numbers,
        default=(0.4, -0.7),
        metavar="ROWS,COLS",
        help="by which it lies off, in pixels (default 0.4,-0.7)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal files (default 0)")


def run(a: Arguments) -> None:
    if a.dir is None and a.scene is None:
        raise LandslideError("name a folder for patches, a file for a scene (--scene FILE.tif), or both")
    if a.dir is not None:
        from tf_landslide.data.synthetic import write_sample  # SciPy

        sizes = write_sample(a.dir, train=a.train, valid=a.valid, test=a.test, seed=a.seed)
        print(f"{a.dir}: {', '.join(f'{n} {split}' for split, n in sizes.items())} patches (synthetic)")
    if a.scene is not None:
        with extra("map"):
            from tf_landslide.scenes.synthetic import write_scene  # rasterio

        files = write_scene(
            Path(a.scene),
            size=a.scene_size,
            system=a.scene_crs,
            seed=a.seed,
            before=a.before_shift if a.before else None,
        )
        others = ", ".join(path.name for path in (files.dem, files.truth, files.polygons, files.before) if path)
        print(f"{files.scene}: a scene of {a.scene_size} x {a.scene_size} pixels (synthetic); beside it {others}")
