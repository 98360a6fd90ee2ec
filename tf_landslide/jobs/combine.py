"""Several runs as one: a run folder whose model averages their answers, over the image's symmetries, calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_landslide.bands.kinds import directions
from tf_landslide.core.errors import LandslideError, require_known
from tf_landslide.core.files import replacing, write_json
from tf_landslide.core.locks import require_new
from tf_landslide.data.folders import available_splits, find_patches, is_labelled
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import predictions
from tf_landslide.jobs.train import judge_run
from tf_landslide.metrics.calibration import calibration
from tf_landslide.metrics.counts import Histograms, best_threshold, curve, nearest_threshold, threshold_bin
from tf_landslide.metrics.temperature import LogitCounts
from tf_landslide.models.batch_statistics import batch_norms, even_batches, recompute
from tf_landslide.models.combine import COPIES, SYMMETRIES, average_weights, combined
from tf_landslide.predict.backends.keras import KerasBackend
from tf_landslide.predict.load import load_model
from tf_landslide.predict.predictor import BATCH_SIZE, Predictor, padded
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.checked import read_folds
from tf_landslide.runs.derived import Derived, Member
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import data_said, machine
from tf_landslide.runs.sections import Config
from tf_landslide.runs.splits import open_splits

TTA = ("none", "flips", "eight", "auto")
AVERAGES = ("probabilities", "weights")


@dataclass(frozen=True)
class Recipe:
    """How runs are combined.

    Attributes:
        symmetries: that answers are averaged over (test-time augmentation): one of ``TTA``; ``auto`` takes what scores
            the highest F1 on validation, and none where none gains.
        average: ``probabilities`` of the members, or ``weights``.
        temperature: fit one on validation.
        threshold: of the combination; None chooses it on validation, or takes over what the members have.
    """

    symmetries: str = "none"
    average: str = "probabilities"
    temperature: bool = False
    threshold: float | None = None


def combine(runs: Sequence[Run], out: str | Path, recipe: Recipe, data_dir: str | Path | None = None) -> Run:
    """Make a run folder whose model is the combination of some runs.

    Args:
        runs: finished ones, of the same channels of the same layout.
        out: the folder to make.
        recipe: how.
        data_dir: the data that the runs were validated on; None judges nothing and takes the threshold over.

    Raises:
        LandslideError: runs that do not fit together, nothing to do, validation needed and not given, or a folder in
            the way.
    """
    path = Path(out)
    _check(runs, recipe, data_dir, path)
    config = runs[0].config
    splits = [] if data_dir is None else ["valid", *_more_splits(data_dir)]
    sources = open_splits(config, data_dir, splits=splits) if data_dir is not None else {}
    models = [load_model(run.path, compile=False) for run in runs]
    members = [_averaged(models, config, data_dir)] if recipe.average == "weights" else models
    card = replace(runs[0].card(threshold=0.5), copies=max(run.card(threshold=0.5).copies for run in runs))
    tried = _tried(members, card, recipe, sources.get("valid"))
    chosen = max(tried, key=lambda trial: trial.f1) if recipe.symmetries == "auto" else tried[0]  # the first of equals
    temperature = chosen.logits.best_temperature() if recipe.temperature and chosen.logits else None
    threshold, origin = _threshold(runs, recipe, bool(sources))
    derived = Derived(
        members=tuple(_member(run) for run in runs),
        threshold_from=origin,
        average=recipe.average,
        symmetries=chosen.symmetries,
        temperature=temperature,
        copies=card.copies * (COPIES if chosen.symmetries != "none" else 1),
        same_network=len(members) == 1 and chosen.symmetries == "none" and temperature is None,
        validation=_measured(tried, chosen, temperature) if sources else {},
    )
    model = members[0] if derived.same_network else combined(members, chosen.symmetries, temperature, config.name)
    made = config.model_copy(update={"threshold": threshold})
    with replacing(path) as folder:
        folder.mkdir()
        _write(folder, model, made, derived, runs, data_dir)
        if sources and threshold is None:
            judge_run(Run(folder, made), sources)
            after = Run(folder, made).metrics()["valid"]
            derived = replace(derived, validation=derived.validation | {"f1_after": after["f1"]} | _ece(after))
            _record(folder, derived, runs, data_dir)
    return Run.open(path)


def _check(runs: Sequence[Run], recipe: Recipe, data_dir: str | Path | None, out: Path) -> None:
    require_known(recipe.symmetries, TTA, "symmetries")
    require_known(recipe.average, AVERAGES, "average")
    if recipe.threshold is not None:
        threshold_bin(recipe.threshold)
    require_new(out)
    first = runs[0]
    for run in runs if recipe.average == "weights" else ():
        if run.derived and not run.derived.same_network:
            raise LandslideError(f"{run.path}: is a combined model; average the weights of the runs that it is made of")
    for run in runs[1:]:
        if (problem := _differs(first, run, recipe, data_dir)) is not None:
            raise LandslideError(f"{first.path} and {run.path} cannot be combined: {problem}")
    if len(runs) == 1 and recipe.symmetries == "none" and not recipe.temperature:
        raise LandslideError("one run alone is combined over symmetries or calibrated: give --tta or --temperature")
    if turned := directions(first.recipe.bands) if recipe.symmetries != "none" else []:
        raise LandslideError(
            f"{first.path}: {', '.join(turned)} would have to turn with the image, so that it cannot be averaged over "
            "its symmetries; leave out --tta"
        )
    if data_dir is None and (recipe.temperature or recipe.symmetries == "auto"):
        raise LandslideError("--temperature and --tta auto are decided on validation: give --data DIR")


def _differs(first: Run, run: Run, recipe: Recipe, data_dir: str | Path | None) -> str | None:
    """Why two runs cannot be combined; None where they can."""
    if run.recipe.channel_names != first.recipe.channel_names:
        return f"channels {', '.join(first.recipe.channel_names)} and {', '.join(run.recipe.channel_names)}"
    if run.recipe != first.recipe:
        return f"band layout or median filter differ ({first.recipe.layout.name} and {run.recipe.layout.name})"
    if recipe.average == "weights" and run.config.model.model_dump(exclude=_START) != first.config.model.model_dump(
        exclude=_START
    ):
        return "weights are averaged of one architecture, encoder, encoder_weights and options only"
    if data_dir is not None and _held_out(run.config) != _held_out(first.config):
        return (
            "they hold out different patches, so that each would be judged on what another was trained on; leave out "
            "--data"
        )
    if data_dir is not None and _trained_apart(run, first):
        return (
            "they were trained on different data, so that each may be judged on what another was trained on; leave out "
            "--data"
        )
    return None


_START = {"init_from"}  # no part of a model's structure, as encoder_weights is: published ones have their own scaling


def _held_out(config: Config) -> tuple[Any, ...]:
    """What says which patches validation is made of."""
    data = config.data
    drawn = config.split_seed if data.valid_share is not None else None
    return data.valid_share, drawn, sorted(data.valid_groups or ()), data.groups


def _trained_apart(run: Run, other: Run) -> bool:
    """Whether two runs say that they were trained, or validated, on different files."""
    ours, theirs = (one.environment.get("data_fingerprint", {}) for one in (run, other))
    return any(ours[split] != theirs[split] for split in ("train", "valid") if split in ours and split in theirs)


def _more_splits(data_dir: str | Path) -> list[str]:
    """The test split, where it can be judged."""
    held = "test" in available_splits(data_dir) and is_labelled(find_patches(data_dir, "test"))
    return ["test"] if held else []


def _averaged(models: list[keras.Model], config: Config, data_dir: str | Path | None) -> keras.Model:
    """One model of the mean weights, its batch norms' statistics computed anew from the training split."""
    model = average_weights(models)
    if batch_norms(model):
        if data_dir is None:
            raise LandslideError(
                "averaged weights need batch norm's statistics computed anew, from the training split: give --data DIR"
            )
        recompute(model, _images(open_splits(config, data_dir, splits=["train"])["train"], config))
    return model


def _images(source: PatchSource, config: Config) -> Iterator[np.ndarray]:
    for positions in even_batches(len(source), config.training.batch_size):
        yield padded(source.fetch(positions)[0])


@dataclass(frozen=True)
class _Trial:
    """Validation by one way to average: its histograms, none where there is no validation."""

    symmetries: str
    histograms: Histograms | None = None
    logits: LogitCounts | None = None

    @property
    def f1(self) -> float:
        return float(curve(self.histograms)["f1"].max()) if self.histograms else 0.0


def _tried(members: list[keras.Model], card: ModelCard, recipe: Recipe, valid: PatchSource | None) -> list[_Trial]:
    """Validation by the ways that are to be compared: the one that is asked for, and none."""
    ways = list(SYMMETRIES) if recipe.symmetries == "auto" else list(dict.fromkeys(("none", recipe.symmetries)))
    if valid is None:
        return [_Trial(recipe.symmetries)]
    trials = [_trial(members, card, way, valid) for way in ways]
    return trials if recipe.symmetries == "auto" else trials[-1:] + trials[:-1]


def _trial(members: list[keras.Model], card: ModelCard, symmetries: str, valid: PatchSource) -> _Trial:
    copies = card.copies * (COPIES if symmetries != "none" else 1)
    predictor = Predictor(replace(card, copies=copies), KerasBackend(combined(members, symmetries), BATCH_SIZE))
    logits = LogitCounts()

    def seen() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _, probability, mask in predictions(predictor, valid, f"valid, symmetries {symmetries}"):
            logits.add(probability, mask)
            yield probability, mask

    return _Trial(symmetries, Histograms.of(seen()), logits)


def _measured(trials: list[_Trial], chosen: _Trial, temperature: float | None) -> dict[str, Any]:
    """What validation said, for the record."""
    assert chosen.histograms and chosen.logits  # there is validation
    said: dict[str, Any] = {"f1": {trial.symmetries: trial.f1 for trial in trials}}
    if temperature is not None:
        said |= {
            "ece_before": calibration(chosen.histograms, resamples=1)["ece"],
            "nll_before": chosen.logits.nll(1.0),
            "nll_after": chosen.logits.nll(temperature),
            "threshold_before": best_threshold(chosen.histograms),
        }
    return said


def _ece(scores: dict[str, Any]) -> dict[str, float]:
    return {"ece_after": scores["calibration"]["ece"]}


def _threshold(runs: Sequence[Run], recipe: Recipe, judged: bool) -> tuple[float | None, str]:
    """The threshold, None where validation chooses it; and where it is from."""
    if recipe.threshold is not None:
        return recipe.threshold, "given"
    if judged:
        return None, "chosen on validation"
    if len(runs) == 1:
        return runs[0].threshold, f"that of {runs[0].path.name}"
    folders = {run.path.absolute().parent for run in runs}
    if len(folders) == 1 and (pooled := folders.pop() / formats.FOLDS).is_file():
        return float(read_folds(pooled)["threshold"]), "chosen out of fold, for the single runs"
    return nearest_threshold(float(np.mean([run.threshold for run in runs]))), "the mean of the members' own"


def _member(run: Run) -> Member:
    model, path = run.card(threshold=0.5), run.path.absolute()
    name = f"{path.parent.name}/{path.name}" if (path.parent / formats.FOLDS).is_file() else path.name
    return Member(name, run.model_digest, run.threshold, model.architecture, model.encoder)


def _write(
    folder: Path,
    model: keras.Model,
    config: Config,
    derived: Derived,
    runs: Sequence[Run],
    data_dir: str | Path | None,
) -> None:
    model.name = config.name
    (folder / formats.CONFIG).write_text(config.to_yaml(), encoding="utf-8")
    model.save(folder / formats.MODEL)
    _record(folder, derived, runs, data_dir)


def _record(folder: Path, derived: Derived, runs: Sequence[Run], data_dir: str | Path | None) -> None:
    members = [run.environment for run in runs]
    alike = {k: v for k, v in members[0].items() if all(member.get(k) == v for member in members)}
    kept: dict[str, Any] = {key: alike[key] for key in ("packages", "data_fingerprint", "patch") if key in alike}
    if {"data", "data_fingerprint"} & alike.keys():  # one dataset, wherever each found it
        kept["data"] = members[0].get("data", "")
    judged_on = {} if data_dir is None else data_said(Path(data_dir))
    synthetic = [said.get("synthetic", False) for said in (judged_on, *members)]
    write_json(
        folder / formats.ENVIRONMENT,
        {
            **machine([device.device_type for device in tf.config.list_physical_devices()]),
            **kept,
            **judged_on,
            "synthetic": any(synthetic),
            formats.COMBINED: derived.as_dict(),
        },
    )
