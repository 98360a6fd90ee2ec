"""Self-training: the pixels that a run is sure of become masks of a split that nobody has labelled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import replacing, require_space, require_writable, write_json
from tf_landslide.core.locks import is_in_the_way, locked
from tf_landslide.core.progress import progress
from tf_landslide.core.threads import in_order
from tf_landslide.data.folders import SPLITS, Patch, available_splits, find_patches, is_labelled
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.data.synthetic import SYNTHETIC_MARK
from tf_landslide.data.writing import copy_patch
from tf_landslide.metrics import IGNORED
from tf_landslide.predict.files import batches_of_a_shape, split_images
from tf_landslide.predict.load import predictor_of
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import data_fingerprint, is_of, version_of
from tf_landslide.runs.sections import Config
from tf_landslide.runs.sections.data import GroupsConfig
from tf_landslide.runs.splits import divided


@dataclass(frozen=True)
class PseudoOptions:
    """How sure a run must be.

    Attributes:
        split: whose patches are labelled; masks that it may have are not looked at.
        confident: a pixel is a landslide from this probability on.
        background: and none up to this one; between the two it is left out.
        keep: share of the patches, those of the highest mean confidence.
        add_to: a labelled dataset, whose splits with masks go along and whose training split the patches are added to,
            but for what the run held out of it, which is validated on.
    """

    split: str = "test"
    confident: float = 0.9
    background: float = 0.1
    keep: float = 1.0
    add_to: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.background < self.confident <= 1:
            raise LandslideError(
                f"--background {self.background:g} and --confident {self.confident:g}: expected probabilities, the "
                "first below the second"
            )
        if not 0 < self.keep <= 1:
            raise LandslideError(f"--keep {self.keep:g}: expected a share of the patches, above 0 and up to 1")


@dataclass(frozen=True)
class Labelled:
    """A patch as a run labels it.

    Attributes:
        image: its file.
        mask: (H, W) uint8 of 0, 1 and ``IGNORED``.
        confidence: mean over its pixels of the probability of the likelier class, 0.5..1.
    """

    image: Path
    mask: np.ndarray
    confidence: float

    @property
    def counts(self) -> dict[str, int]:
        kinds = {"landslide": 1, "background": 0, "left_out": IGNORED}
        return {name: int((self.mask == value).sum()) for name, value in kinds.items()}


def pseudo_label(run: Run, data_dir: str | Path, out: str | Path, options: PseudoOptions) -> dict[str, Any]:
    """Write a dataset with the masks that a run is sure of, in the layout of Landslide4Sense, that ``train`` takes.

    Args:
        run: finished.
        data_dir: HDF5 patches in the run's band layout.
        out: a folder that does not exist yet, or is empty.
        options: how sure it must be.

    Returns:
        what ``pseudo_labels.json`` holds.

    Raises:
        LandslideError: no such split, none to validate on in the labelled dataset, a file that cannot be used, nothing
            that the run is sure of, too little disk, or a folder that holds something or is in use.
    """
    data_dir, out = Path(data_dir), Path(out)
    if is_in_the_way(out):
        raise LandslideError(f"{out}: already holds something; name an empty or new folder")
    require_writable(out)
    images = split_images(data_dir, options.split)
    before = _labelled_splits(run, options.add_to, data_dir, options.split) if options.add_to else {}
    files = [*images, *(patch.image for found in before.values() for patch in found if patch.image)]
    require_space(out.parent, sum(file.stat().st_size for file in files), "the patches")
    predictor = predictor_of(run)
    labelled = _chosen(list(_predicted(predictor, images, run)), options)
    with locked(out), replacing(out) as partial:
        partial.mkdir()
        for split, found in before.items():
            _copy(partial, split, found, run.config.data.ignore)
        first = max((patch.number for found in before.values() for patch in found), default=0) + 1
        for number, patch in enumerate(progress(labelled, label="writing"), first):
            copy_patch(partial, "train", number, patch.image, patch.mask)
        for folder in filter(None, (data_dir, options.add_to)):
            if (folder / SYNTHETIC_MARK).is_file():
                shutil.copyfile(folder / SYNTHETIC_MARK, partial / SYNTHETIC_MARK)
        (partial / formats.CONFIG).write_text(_config(run.config).to_yaml(), encoding="utf-8")
        card = _card(run, predictor, data_dir, options, before, labelled, first, len(images))
        write_json(partial / formats.PSEUDO_LABELS, card)
    return card


def _config(config: Config) -> Config:
    """Of a run, to train on the patches: without their unsure pixels, and validated on the split that is there."""
    unheld = {"valid_share": None, "valid_groups": None, "groups": GroupsConfig()}  # groups of other numbers and names
    return config.model_copy(update={"data": config.data.model_copy(update={"ignore": IGNORED, **unheld})})


def _labelled_splits(run: Run, add_to: Path, data_dir: Path, split: str) -> dict[str, list[Patch]]:
    """The splits of a labelled dataset that go along: those with masks, but for the one that is labelled anew.

    Validation is what the run held out of this dataset's training split, where it did so: no patch that it labelled
    judges it, nor one that it was trained on.
    """
    found = {name: find_patches(add_to, name) for name in SPLITS if name in available_splits(add_to)}
    same = add_to.resolve() == data_dir.resolve()
    kept = {name: patches for name, patches in found.items() if is_labelled(patches) and not (same and name == split)}
    for patch in (patch for patches in kept.values() for patch in patches):
        if not (patch.image and patch.mask):
            raise LandslideError(f"{patch.image or patch.mask}: has no partner; see tf-landslide inspect {add_to}")
    if "train" not in kept:
        raise LandslideError(f"{add_to}: has no training split with masks to add to")
    held_out = run.config.data.divides_train
    if held_out and is_of(run, add_to, "train"):
        parts = divided(run.config, kept["train"], add_to)
        return kept | {
            split: [kept["train"][i] for i in chosen] for split, chosen in zip(("train", "valid"), parts, strict=True)
        }
    if "valid" not in kept:
        own = f", or name {run.environment.get('data')}, of which it held out patches" if held_out else ""
        raise LandslideError(
            f"{add_to}: leaves no validation split with masks to judge what is trained on the labels of {run.path}: "
            f"give it one{own}"
        )
    return kept


def _predicted(predictor: Predictor, files: Sequence[Path], run: Run) -> Iterator[tuple[Path, np.ndarray]]:
    """Each patch's file and (H, W) probability, NaN where none of its channels is known."""

    def read(path: Path) -> tuple[Path, np.ndarray]:
        return path, read_image(path, run.recipe.layout, allow_missing=run.config.data.allow_missing)

    images = progress(in_order(read, files), total=len(files), label="predicting")
    for batch in batches_of_a_shape(images, predictor):
        channels, probability = predictor.from_bands(np.stack([image for _, image in batch]))
        for (path, _), x, p in zip(batch, channels, probability[..., 0], strict=True):
            yield path, np.where(np.isfinite(x).any(-1), p, np.nan)


def _chosen(predicted: list[tuple[Path, np.ndarray]], options: PseudoOptions) -> list[Labelled]:
    """The patches of the highest confidence, in the order of their numbers."""
    found = [labelled(image, probability, options) for image, probability in predicted]
    count = max(1, round(options.keep * len(found)))
    best = sorted(range(len(found)), key=lambda i: -found[i].confidence)[:count]
    sure = [found[i] for i in sorted(best) if (found[i].mask != IGNORED).any()]
    if not sure:
        raise LandslideError(
            f"no pixel of {options.split!r} is at {options.confident:g} and above, or at {options.background:g} and "
            "below; ask for less"
        )
    return sure


def labelled(image: Path, probability: np.ndarray, options: PseudoOptions) -> Labelled:
    """A patch of a file by its (H, W) probability, NaN where nothing is known."""
    mask = np.full(probability.shape, IGNORED, np.uint8)
    mask[probability >= options.confident] = 1
    mask[probability <= options.background] = 0
    known = probability[np.isfinite(probability)]
    return Labelled(image, mask, float(np.maximum(known, 1 - known).mean()) if known.size else 0.0)


def _copy(folder: Path, split: str, patches: Sequence[Patch], ignore: int | None) -> None:
    for patch in progress(patches, label=f"copying {split}"):
        assert patch.image is not None and patch.mask is not None
        copy_patch(folder, split, patch.number, patch.image, read_mask(patch.mask, ignore=ignore))


def _card(
    run: Run,
    predictor: Predictor,
    data_dir: Path,
    options: PseudoOptions,
    before: dict[str, list[Patch]],
    labelled: Sequence[Labelled],
    first: int,
    found: int,
) -> dict[str, Any]:
    rows = [
        {"number": number, "from": patch.image.name, "confidence": round(patch.confidence, 4), **patch.counts}
        for number, patch in enumerate(labelled, first)
    ]
    return {
        "version": version_of("tf-landslide"),
        "run": {"path": str(run.path), "name": run.config.name, "weights_sha256": predictor.backend.fingerprint()},
        "source": {"data": str(data_dir), "split": options.split, **data_fingerprint(data_dir)[options.split]},
        "added_to": options.add_to and {"data": str(options.add_to), **{name: len(p) for name, p in before.items()}},
        **{key: getattr(options, key) for key in ("confident", "background", "keep")},
        "patches": {"of_split": found, "labelled": len(labelled)},
        "pixels": {key: sum(row[key] for row in rows) for key in ("landslide", "background", "left_out")},
        "labels": rows,
    }
