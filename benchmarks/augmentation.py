"""What augmentation costs, and what it looks like.

    python benchmarks/augmentation.py [--rounds 15]             a Markdown table: milliseconds of one core a patch
    python benchmarks/augmentation.py --picture augmentation.jpg  one synthetic patch under each part

Times are the process's own, of whatever threads it has, so that other work on the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe
from tf_landslide.core.tables import markdown_table
from tf_landslide.data.augment.augmenter import Augmenter
from tf_landslide.data.augment.draws import epoch_draws
from tf_landslide.data.augment.settings import PARTS, Augmentation
from tf_landslide.data.source import PatchSource
from tf_landslide.data.synthetic import write_sample

SENTINEL_2 = tuple(part for part in PARTS if part not in ("radar", "other"))
RECIPE = {
    "scale": 0.5,
    "elastic": 0.3,
    "shadow": 0.2,
    "haze": 0.3,
    "optical": 0.5,
    "elevation": 0.5,
    "cutmix": 0.3,
    "dropout": 0.1,
}
"""The probabilities of the recipe in docs/training.md."""
_SHOWN = ["red", "green", "blue", "ndvi", "dem"]


def augmentation(probabilities: dict[str, float]) -> Augmentation:
    """Parts at their default strengths."""
    default = Augmentation()
    return replace(
        default, **{part: replace(getattr(default, part), probability=p) for part, p in probabilities.items()}
    )


def own_ms(work: Callable[[], int], rounds: int) -> float:
    """Milliseconds of the process for each of the patches that a call works on; the median of rounds."""
    work()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        patches = work()
        times.append((time.process_time() - started) / patches * 1e3)
    return statistics.median(times)


def costs(source: PatchSource, plain: PatchSource, rounds: int) -> list[tuple[str, float]]:
    """Milliseconds a patch of each part where it happens, of all at once, and of the recipe; first without any."""
    positions = np.arange(len(source))
    symmetries = positions % 8

    def without() -> int:
        return len(plain.fetch(positions, symmetries, np.float32)[0])

    def ms(probabilities: dict[str, float]) -> float:
        augmenter, epochs = Augmenter(augmentation(probabilities), source.recipe, 0), iter(range(10**6))

        def look() -> int:
            epoch = next(epochs)
            return len(augmenter.fetch(source, epoch_draws(positions, symmetries, 0, epoch), epoch)[0])

        return own_ms(look, rounds)

    bare = ms({"elevation": 1e-12})
    rows = [("none (channels from the cache)", own_ms(without, rounds)), ("on, and nothing drawn", bare)]
    rows += [(part, ms({part: 1.0}) - bare) for part in SENTINEL_2]
    return [*rows, ("all nine at once", ms(dict.fromkeys(SENTINEL_2, 1.0))), ("the recipe", ms(RECIPE))]


def rate(source: PatchSource, settings: Augmentation | None, rounds: int) -> float:
    """Patches that the whole input pipeline gives for each second of the process."""
    from tf_landslide.data.pipeline import as_dataset  # TensorFlow

    dataset = as_dataset(source, 16, shuffle=True, augment=True, augmentation=settings, seed=1)
    return 1e3 / own_ms(lambda: sum(len(x) for x, _ in dataset), rounds)


def table(data: Path, rounds: int) -> str:
    """The costs of six and of fourteen channels, in Markdown."""
    columns = {}
    for channels in ("six", "fourteen"):
        recipe = channel_recipe("landslide4sense", channels)
        source, plain = (PatchSource.open(data, "train", recipe, keep_bands=keep) for keep in (True, False))
        columns[channels] = [(name, f"{ms:.2f}") for name, ms in costs(source, plain, rounds)]
        for name, rated, settings in (("without", plain, None), ("with the recipe", source, augmentation(RECIPE))):
            columns[channels].append((f"pipeline {name}, patches/s", f"{rate(rated, settings, rounds):,.0f}"))
    rows = [(name, six, columns["fourteen"][i][1]) for i, (name, six) in enumerate(columns["six"])]
    return markdown_table(("ms a patch of 128 x 128", "six", "fourteen"), rows)


def picture(data: Path, path: Path) -> None:
    """One patch under each part: natural colour with the mask's outline, and NDVI below it."""
    from matplotlib.figure import Figure  # heavy

    recipe = channel_recipe("landslide4sense", _SHOWN)
    source = PatchSource.open(data, "train", recipe, keep_bands=True)
    shares = [np.mean(mask) for _, mask in source.views(np.arange(len(source)))]
    chosen = int(np.argsort(shares)[-2])
    shown = ["", *SENTINEL_2, "the recipe"]
    figure = Figure(figsize=(15, 10.6), layout="constrained", dpi=80)
    axes = figure.subplots(4, 6)
    for i, part in enumerate(shown):
        channels, mask = look(source, recipe, chosen, part)
        above, below = axes[i // 6 * 2, i % 6], axes[i // 6 * 2 + 1, i % 6]
        above.imshow(np.clip(channels[..., :3] / 0.18, 0, 1) ** 0.8)
        above.contour(mask, [0.25, 0.75], colors="yellow", linewidths=0.8)
        moved = f" {np.nanmean(channels[..., 4]):.0f} m" if part in ("", "elevation") else ""
        gone = [n for n, x in zip(_SHOWN, channels.T, strict=True) if np.isnan(x).all()]
        above.set_title((part or "as it is") + moved + (f": no {', '.join(gone)}" if gone else ""), fontsize=12)
        below.imshow(channels[..., 3], cmap="RdYlGn", vmin=-0.2, vmax=0.9)
    for axis in axes.flat:
        axis.axis("off")
    figure.savefig(path, pil_kwargs={"quality": 85})


def look(source: PatchSource, recipe: ChannelRecipe, patch: int, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Channels and mask of a patch under a part, by one of a few seeds by which it shows well."""
    draws = epoch_draws(np.array([patch, 0, 1, 2]), np.zeros(4, int), 0, 0)
    draws[0, 1] = draws[1, 0]
    settings = augmentation(RECIPE if part == "the recipe" else {part or "elevation": 1.0 if part else 1e-12})
    settings = replace(settings, mixup=replace(settings.mixup, strength=1.0))  # of 0.2, most are one patch nearly alone
    before = source.fetch(np.array([patch]))[0][0]
    looks = [Augmenter(settings, recipe, seed).fetch(source, draws[:1], 0) for seed in range(12)]
    changes = [np.nanmean(np.abs(channels[0] - before) / [1, 1, 1, 1, 1e4]) for channels, _ in looks]
    channels, masks = looks[int(np.argsort(changes)[5 if part == "mixup" else 8])]
    return channels[0], masks[0, ..., 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--picture", type=Path)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "sample"
        write_sample(data, train=32, valid=2, test=2, seed=7)
        if a.picture:
            picture(data, a.picture)
        else:
            print(table(data, a.rounds))


if __name__ == "__main__":
    main()
