"""``tf-landslide synth``."""

from __future__ import annotations

from pathlib import Path

from tf_landslide.cli.parsing import Arguments, Commands, add_command, two_numbers
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra

_PATCHES = {"train": 192, "valid": 48, "test": 64}
_SIDE, _SHIFT = 512, (0.4, -0.7)
_OF_A_SCENE = ("scene_size", "scene_crs", "before")


def add(commands: Commands) -> None:
    parser = add_command(commands, "synth", run, "write the synthetic sample landscape, as patches or as a scene")
    parser.add_argument("dir", metavar="DIR", nargs="?", help="a new folder for patches")
    for split, n in _PATCHES.items():
        parser.add_argument(f"--{split}", type=int, metavar="N", help=f"{split} patches (default {n})")
    parser.add_argument("--scene", metavar="FILE.tif", help="write a georeferenced scene, its DEM and its landslides")
    parser.add_argument("--scene-size", type=int, metavar="PX", help=f"its side (default {_SIDE})")
    parser.add_argument(
        "--scene-crs", metavar="NAME", help="utm (default), its DEM in degrees; or geographic, its DEM in UTM"
    )
    parser.add_argument("--before", action="store_true", help="write the scene before its landslides too")
    parser.add_argument(
        "--before-shift",
        type=two_numbers,
        metavar="ROWS,COLS",
        help="by which it lies off, in pixels (default {:g},{:g})".format(*_SHIFT),
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal files (default 0)")


def run(a: Arguments) -> None:
    if a.dir is None and a.scene is None:
        raise LandslideError("name a folder for patches, a file for a scene (--scene FILE.tif), or both")
    _refuse([f"--{split}" for split in _PATCHES if getattr(a, split) is not None], "patches, DIR", a.dir)
    given = [f"--{name.replace('_', '-')}" for name in _OF_A_SCENE if getattr(a, name) not in (None, False)]
    _refuse(given, "a scene, --scene FILE.tif", a.scene)
    _refuse(["--before-shift"] if a.before_shift else [], "the scene before, --before", a.before)
    side = _SIDE if a.scene_size is None else a.scene_size
    if a.dir is not None:
        from tf_landslide.data.synthetic import write_sample  # SciPy

        counts = {split: n if getattr(a, split) is None else getattr(a, split) for split, n in _PATCHES.items()}
        sizes = write_sample(a.dir, **counts, seed=a.seed)
        print(f"{a.dir}: {', '.join(f'{n} {split}' for split, n in sizes.items())} patches (synthetic)")
    if a.scene is not None:
        with extra("map"):
            from tf_landslide.scenes.synthetic import write_scene  # rasterio

        files = write_scene(
            Path(a.scene),
            size=side,
            system=a.scene_crs or "utm",
            seed=a.seed,
            before=(a.before_shift or _SHIFT) if a.before else None,
        )
        others = ", ".join(path.name for path in (files.dem, files.truth, files.polygons, files.before) if path)
        print(f"{files.scene}: a scene of {side} x {side} pixels (synthetic); beside it {others}")


def _refuse(given: list[str], what: str, asked: object) -> None:
    if given and not asked:
        raise LandslideError(f"{', '.join(given)}: for {what}, which is not asked for; leave it out, or name that")
